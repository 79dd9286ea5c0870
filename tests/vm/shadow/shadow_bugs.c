// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Three reads that KASAN reports. The memory stays as it is until the module is unloaded, so that
 * its shadow can be compared with the report. Boot with kasan_multi_shot.
 */
#include <linux/compiler.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define SLAB_BYTES	100	/* of kmalloc-128: the last shadow bytes are partial and a redzone */
#define AREA_BYTES	5001

static char *object, *area;

static noinline void read_at(const char *name, const char *at)
{
	OPTIMIZER_HIDE_VAR(at);
	pr_info("shadow_bugs: %s %px\n", name, at);
	(void)READ_ONCE(*at);
}

static int __init shadow_bugs_init(void)
{
	char *freed;

	object = kmalloc(SLAB_BYTES, GFP_KERNEL);
	area = vmalloc(AREA_BYTES);
	freed = kmalloc(SLAB_BYTES, GFP_KERNEL);
	if (!object || !area || !freed) {
		kfree(freed);
		kfree(object);
		vfree(area);
		return -ENOMEM;
	}
	read_at("beyond", object + SLAB_BYTES);
	read_at("area", area + AREA_BYTES);
	kfree(freed);	/* it stays in KASAN's quarantine for a while */
	read_at("freed", freed + 8);
	return 0;
}

static void __exit shadow_bugs_exit(void)
{
	kfree(object);
	vfree(area);
}

module_init(shadow_bugs_init);
module_exit(shadow_bugs_exit);

MODULE_DESCRIPTION("Reads that KASAN reports");
MODULE_LICENSE("GPL");
