// SPDX-License-Identifier: GPL-2.0-or-later
/* Another driver, which shares a refcounted page. Nothing is wrong with it. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* file->private_data */
struct other {
	void *area;
};

static int other_open(struct inode *inode, struct file *file)
{
	struct other *other = kzalloc(sizeof(*other), GFP_KERNEL);

	if (!other)
		return -ENOMEM;
	other->area = vmalloc_user(PAGE_SIZE);
	if (!other->area) {
		kfree(other);
		return -ENOMEM;
	}
	file->private_data = other;
	return 0;
}

static int other_release(struct inode *inode, struct file *file)
{
	struct other *other = file->private_data;

	vfree(other->area);
	kfree(other);
	return 0;
}

static int other_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct other *other = file->private_data;

	return remap_vmalloc_range(vma, other->area, 0);
}

static const struct file_operations other_fops = {
	.owner		= THIS_MODULE,
	.open		= other_open,
	.release	= other_release,
	.mmap		= other_mmap,
};

static struct miscdevice other_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "shares_other",
	.fops	= &other_fops,
	.mode	= 0600,
};

static int __init other_init(void)
{
	return misc_register(&other_device);
}

static void __exit other_exit(void)
{
	misc_deregister(&other_device);
}

module_init(other_init);
module_exit(other_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A sound driver beside one with bugs, for tests");
