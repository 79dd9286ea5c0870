// SPDX-License-Identifier: GPL-2.0
/* The device: access check, mmap(), and the doorbells of the protocol. */
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "umh_shm.h"

static bool allow_any;
module_param(allow_any, bool, 0444);
MODULE_PARM_DESC(allow_any, "let any process that can open the device use it, for tests (default 0)");

/* Slot numbers that one read() or write() transfers. */
#define BELLS_A_PASS	16

static bool may_use(void)
{
	return allow_any || umh_shm_helper_is_current();
}

static void umh_shm_vm_open(struct vm_area_struct *vma)
{
	atomic_inc(&umh_shm_region.live_mappings);
}

static void umh_shm_vm_close(struct vm_area_struct *vma)
{
	atomic_dec(&umh_shm_region.live_mappings);
}

/*
 * With map=fault each page faults. With map=insert a page faults only after
 * MADV_DONTNEED dropped it. With map=remap none does, because the kernel refuses
 * MADV_DONTNEED for VM_PFNMAP.
 */
static vm_fault_t umh_shm_vm_fault(struct vm_fault *vmf)
{
	const struct umh_shm_region *region = &umh_shm_region;
	struct page *page;

	if (vmf->pgoff >= region->nr_pages)
		return VM_FAULT_SIGBUS;
	switch (region->map) {
	case UMH_SHM_MAP_FAULT:
		return vmf_insert_pfn(vmf->vma, vmf->address,
				      umh_shm_region_pfn(region, vmf->pgoff));
	case UMH_SHM_MAP_INSERT:
		page = umh_shm_region_page(region, vmf->pgoff);
		get_page(page);
		vmf->page = page;
		return 0;
	case UMH_SHM_MAP_REMAP:
		break;
	}
	return VM_FAULT_SIGBUS;
}

/* No .access: ptrace and /proc/PID/mem must not reach the memory. */
static const struct vm_operations_struct umh_shm_vm_ops = {
	.open	= umh_shm_vm_open,
	.close	= umh_shm_vm_close,
	.fault	= umh_shm_vm_fault,
};

/* umh_shm_abi.h lists the errors. */
static int mmap_check(const struct file *file, struct vm_area_struct *vma)
{
	unsigned long end;

	if (!may_use())
		return -EPERM;
	/* VM_SHARED is cleared for a read-only open, VM_MAYSHARE is not. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	/* do_mmap() refuses this too; do not depend on it. */
	if ((vma->vm_flags & VM_WRITE) && !(file->f_mode & FMODE_WRITE))
		return -EACCES;
	if (check_add_overflow(vma->vm_pgoff, vma_pages(vma), &end))
		return -EOVERFLOW;
	if (end > umh_shm_region.nr_pages)
		return -ENXIO;
	return 0;
}

static int map_inserted(struct vm_area_struct *vma)
{
	unsigned long i;
	int err;

	for (i = 0; i < vma_pages(vma); i++) {
		err = vm_insert_page(vma, vma->vm_start + (i << PAGE_SHIFT),
				     umh_shm_region_page(&umh_shm_region, vma->vm_pgoff + i));
		if (err)
			return err;
	}
	return 0;
}

static int map_pages(struct vm_area_struct *vma)
{
	switch (umh_shm_region.map) {
	case UMH_SHM_MAP_REMAP:
		return remap_pfn_range(vma, vma->vm_start,
				       umh_shm_region_pfn(&umh_shm_region, vma->vm_pgoff),
				       vma->vm_end - vma->vm_start, vma->vm_page_prot);
	case UMH_SHM_MAP_FAULT:
		vm_flags_mod(vma, VM_PFNMAP, 0);
		return 0;
	case UMH_SHM_MAP_INSERT:
		return map_inserted(vma);
	}
	return -EINVAL;
}

static int umh_shm_mmap(struct file *file, struct vm_area_struct *vma)
{
	vm_flags_t clear = VM_MAYEXEC;
	int err;

	err = mmap_check(file, vma);
	if (err)
		return err;
	/* do_mmap() clears it too; do not depend on it. */
	if (!(file->f_mode & FMODE_WRITE))
		clear |= VM_MAYWRITE;
	/*
	 * VM_IO for each kind of map: it keeps out ptrace and other users of
	 * get_user_pages() that check the VMA (mm/gup.c, check_vma_flags()), and
	 * keeps MADV_DOFORK from undoing VM_DONTCOPY. get_user_pages_fast() does
	 * not check the VMA, so pages of map=insert can stay pinned after
	 * munmap(). They are refcounted and stay allocated.
	 */
	vm_flags_mod(vma, VM_IO | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY, clear);
	vma->vm_ops = &umh_shm_vm_ops;
	err = map_pages(vma);
	if (err)
		return err;
	/* The kernel calls vm_ops->open() only for copies of a VMA. */
	umh_shm_vm_open(vma);
	return 0;
}

static int umh_shm_open(struct inode *inode, struct file *file)
{
	file->private_data = &umh_shm_region;
	return stream_open(inode, file);
}

static bool readable(void)
{
	return umh_shm_proto_pending() || umh_shm_helper_dismissed();
}

static ssize_t umh_shm_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	u32 slots[BELLS_A_PASS];
	unsigned int n;
	int err;

	if (!may_use())
		return -EPERM;
	if (!count || count % sizeof(slots[0]))
		return -EINVAL;
	count = min(count, sizeof(slots));

	for (;;) {
		if (umh_shm_helper_dismissed())
			return 0;
		n = umh_shm_proto_take(slots, count / sizeof(slots[0]));
		if (n)
			break;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(*umh_shm_proto_readers(), readable());
		if (err)
			return err;
	}
	if (copy_to_user(buf, slots, n * sizeof(slots[0]))) {
		umh_shm_proto_give_back(slots, n);
		return -EFAULT;
	}
	return n * sizeof(slots[0]);
}

static ssize_t umh_shm_write(struct file *file, const char __user *buf, size_t count,
			     loff_t *ppos)
{
	u32 slots[BELLS_A_PASS];
	unsigned int i;
	int err;

	if (!may_use())
		return -EPERM;
	if (!count || count % sizeof(slots[0]))
		return -EINVAL;
	count = min(count, sizeof(slots));

	if (copy_from_user(slots, buf, count))
		return -EFAULT;
	for (i = 0; i < count / sizeof(slots[0]); i++) {
		err = umh_shm_proto_bell(slots[i]);
		if (err)
			return i ? i * sizeof(slots[0]) : err;
	}
	return count;
}

static __poll_t umh_shm_poll(struct file *file, poll_table *wait)
{
	__poll_t mask = EPOLLOUT | EPOLLWRNORM;

	if (!may_use())
		return EPOLLERR;
	poll_wait(file, umh_shm_proto_readers(), wait);
	if (umh_shm_proto_pending())
		mask |= EPOLLIN | EPOLLRDNORM;
	if (umh_shm_helper_dismissed())
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLHUP;
	return mask;
}

static const struct file_operations umh_shm_fops = {
	.owner	= THIS_MODULE,
	.open	= umh_shm_open,
	.read	= umh_shm_read,
	.write	= umh_shm_write,
	.poll	= umh_shm_poll,
	.mmap	= umh_shm_mmap,
};

struct miscdevice umh_shm_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= UMH_SHM_DEVICE,
	.fops	= &umh_shm_fops,
	.groups	= umh_shm_groups,
	.mode	= 0600,
};

int umh_shm_chrdev_init(void)
{
	return misc_register(&umh_shm_misc);
}

void umh_shm_chrdev_exit(void)
{
	misc_deregister(&umh_shm_misc);
}
