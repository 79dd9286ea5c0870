// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A slot of umh_shm's protocol for each open file, without its module: the kernel's side keeps to
 * the protocol, or breaks it in a way that the program asks for.
 */
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>

#include "../../../module/umh_shm_abi.h"
#include "shares_slots_abi.h"

static noinline __noclone void slots_write_request(struct umh_shm_slot *slot)
{
	slot->req.id = UMH_SHM_ID_HEALTH;
	/* Of a constant length, so inline: the tests name this function. */
	memcpy(slot->req.payload, UMH_SHM_HEALTH_PAYLOAD, sizeof(UMH_SHM_HEALTH_PAYLOAD));
	memcpy(slot->req.pl_hash, UMH_SHM_HEALTH_WORD, sizeof(UMH_SHM_HEALTH_WORD));
	slot->payload_len = strlen(UMH_SHM_HEALTH_PAYLOAD);
	slot->seq++;
	barrier();
}

static noinline __noclone void slots_collect(struct umh_shm_slot *slot)
{
	char reply[16];

	if (smp_load_acquire(&slot->state) != UMH_SHM_DONE)
		return;
	memcpy(reply, slot->reply, sizeof(reply));
	barrier_data(reply);
	smp_store_release(&slot->state, UMH_SHM_IDLE);
}

static noinline __noclone void slots_meddle(struct umh_shm_slot *slot)
{
	WRITE_ONCE(slot->req.payload[0], 'H');
}

static long slots_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct umh_shm_slot *slot = file->private_data;

	switch (cmd) {
	case SHARES_SLOTS_POST:
		slots_write_request(slot);
		smp_store_release(&slot->state, UMH_SHM_POSTED);
		return 0;
	case SHARES_SLOTS_POST_EARLY:
		WRITE_ONCE(slot->state, UMH_SHM_POSTED);
		barrier();
		slots_write_request(slot);
		return 0;
	case SHARES_SLOTS_COLLECT:
		slots_collect(slot);
		return 0;
	case SHARES_SLOTS_MEDDLE:
		slots_meddle(slot);
		return 0;
	default:
		return -ENOTTY;
	}
}

static int slots_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma_pages(vma) != 1 || vma->vm_pgoff)
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, virt_to_page(file->private_data));
}

static int slots_open(struct inode *inode, struct file *file)
{
	file->private_data = (void *)get_zeroed_page(GFP_KERNEL);
	return file->private_data ? 0 : -ENOMEM;
}

static int slots_release(struct inode *inode, struct file *file)
{
	free_page((unsigned long)file->private_data);
	return 0;
}

static const struct file_operations slots_fops = {
	.owner		= THIS_MODULE,
	.open		= slots_open,
	.release	= slots_release,
	.mmap		= slots_mmap,
	.unlocked_ioctl	= slots_ioctl,
};

static struct miscdevice slots_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "shares_slots",
	.fops	= &slots_fops,
	.mode	= 0600,
};

module_misc_device(slots_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A slot of umh_shm's protocol whose kernel side can break it, for tests");
