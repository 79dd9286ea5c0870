// SPDX-License-Identifier: GPL-2.0-or-later
/* Another driver, which shares a refcounted page. Nothing is wrong with it. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

static int other_open(struct inode *inode, struct file *file)
{
	file->private_data = vmalloc_user(PAGE_SIZE);
	return file->private_data ? 0 : -ENOMEM;
}

static int other_release(struct inode *inode, struct file *file)
{
	vfree(file->private_data);
	return 0;
}

static int other_mmap(struct file *file, struct vm_area_struct *vma)
{
	return remap_vmalloc_range(vma, file->private_data, 0);
}

static const struct file_operations other_fops = {
	.owner		= THIS_MODULE,
	.open		= other_open,
	.release	= other_release,
	.mmap		= other_mmap,
};

static struct miscdevice other = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "shares_other",
	.fops	= &other_fops,
	.mode	= 0600,
};

static int __init other_init(void)
{
	return misc_register(&other);
}

static void __exit other_exit(void)
{
	misc_deregister(&other);
}

module_init(other_init);
module_exit(other_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A sound driver beside one with bugs, for tests");
