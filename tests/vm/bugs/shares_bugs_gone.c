// SPDX-License-Identifier: GPL-2.0-or-later
/* Lends its operations without being pinned, and is unloaded. */
#include <linux/mm.h>
#include <linux/module.h>

#include "shares_bugs.h"

static vm_fault_t gone_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct gone_vm_ops = {
	.fault	= gone_fault,
};

static int __init shares_bugs_gone_init(void)
{
	return shares_bugs_lend(&gone_vm_ops);
}

/* The operations stay in use: that is the bug. */
static void __exit shares_bugs_gone_exit(void)
{
}

module_init(shares_bugs_gone_init);
module_exit(shares_bugs_gone_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Operations that are used after unload, for tests");
