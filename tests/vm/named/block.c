// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Devices whose kernel side the user must name, for the tests. Their variables have ambiguous names.
 * They map as many pages as mmap() requests.
 *
 * The memory of this device is a compound page, whose address is in an integer.
 */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>

#include "named.h"

#define BLOCK_ORDER 2

static unsigned long block;
/* Never set. */
static unsigned long unset __used;
/* Another file of this module has one too. */
static void *twice __used;

static int block_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long size = vma->vm_end - vma->vm_start;

	return remap_pfn_range(vma, vma->vm_start, virt_to_phys(twice) >> PAGE_SHIFT, size,
			       vma->vm_page_prot);
}

static const struct file_operations block_fops = {
	.owner	= THIS_MODULE,
	.mmap	= block_mmap,
};

static struct miscdevice block_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "shares_named_block",
	.fops	= &block_fops,
	.mode	= 0600,
};

static int __init shares_named_init(void)
{
	int err, page;

	block = __get_free_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, BLOCK_ORDER);
	if (!block)
		return -ENOMEM;
	twice = (void *)block;
	for (page = 0; page < 1 << BLOCK_ORDER; page++)
		snprintf(twice + page * PAGE_SIZE, PAGE_SIZE, "shares_named block %d", page);
	err = shares_named_area_init();
	if (err)
		goto err_free;
	err = misc_register(&block_device);
	if (err)
		goto err_area;
	return 0;

err_area:
	shares_named_area_exit();
err_free:
	free_pages(block, BLOCK_ORDER);
	return err;
}

static void __exit shares_named_exit(void)
{
	misc_deregister(&block_device);
	shares_named_area_exit();
	free_pages(block, BLOCK_ORDER);
}

module_init(shares_named_init);
module_exit(shares_named_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Memory whose kernel side the user must name, for tests");
