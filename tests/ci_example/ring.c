// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver that shares memory: each open of /dev/ring allocates a few pages,
 * and mmap() maps them to user space. An example for docs/ci.md.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define RING_BYTES (4 * PAGE_SIZE)

static bool careless;
module_param(careless, bool, 0444);
MODULE_PARM_DESC(careless, "accept MAP_PRIVATE too, as a bug for CI to find");

struct ring_ctx {
	void *ring;
};

static int ring_open(struct inode *inode, struct file *file)
{
	struct ring_ctx *ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return -ENOMEM;
	ctx->ring = vmalloc_user(RING_BYTES);
	if (!ctx->ring) {
		kfree(ctx);
		return -ENOMEM;
	}
	file->private_data = ctx;
	return 0;
}

static int ring_release(struct inode *inode, struct file *file)
{
	struct ring_ctx *ctx = file->private_data;

	vfree(ctx->ring);
	kfree(ctx);
	return 0;
}

static int ring_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct ring_ctx *ctx = file->private_data;

	/* The first write to a private mapping would make a copy of the page. */
	if (!(vma->vm_flags & VM_SHARED) && !careless)
		return -EINVAL;
	return remap_vmalloc_range(vma, ctx->ring, vma->vm_pgoff);
}

static const struct file_operations ring_fops = {
	.owner = THIS_MODULE,
	.open = ring_open,
	.release = ring_release,
	.mmap = ring_mmap,
};

static struct miscdevice ring_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ring",
	.fops = &ring_fops,
};

module_misc_device(ring_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Shares a few pages with user space: an example for pageproof");
