// SPDX-License-Identifier: GPL-2.0-or-later
/* Bugs in the page tables of the calling process, and drivers' bugs in mmap(). */
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/platform_device.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "audit_bugs_abi.h"
#include "bugs.h"

#define FREE_ORDER 9

static struct page *page;		/* mapped where nothing is wrong */
static void *object, *other;		/* in two slabs */
static struct page *block;		/* freed while it is mapped */
static struct page *pair;		/* two, not compound: the second has no reference */
static struct task_struct *task;	/* sleeps */
static void *area;			/* of vmalloc() */
static struct platform_device *device;	/* DMA memory is allocated for it */
static void *coherent;
static dma_addr_t handle;
static unsigned long others;		/* a PFN of another driver */

#define COHERENT_BYTES	(16 * PAGE_SIZE)

static int sleep_on(void *unused)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

int user_init(void)
{
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	pair = alloc_pages(GFP_KERNEL | __GFP_ZERO, 1);
	object = kmalloc(64, GFP_KERNEL);
	other = kmalloc(PAGE_SIZE / 2, GFP_KERNEL);
	area = vzalloc(2 * PAGE_SIZE);
	task = kthread_run(sleep_on, NULL, "audit_bugs_nap");
	device = platform_device_register_simple("audit_bugs", -1, NULL, 0);
	if (IS_ERR(task) || IS_ERR(device))
		return -ENOMEM;
	if (dma_coerce_mask_and_coherent(&device->dev, DMA_BIT_MASK(32)))
		return -EIO;
	coherent = dma_alloc_coherent(&device->dev, COHERENT_BYTES, &handle, GFP_KERNEL);
	return page && pair && object && other && area && coherent ? 0 : -ENOMEM;
}

void user_exit(void)
{
	if (coherent)
		dma_free_coherent(&device->dev, COHERENT_BYTES, coherent, handle);
	if (!IS_ERR_OR_NULL(device))
		platform_device_unregister(device);
	if (!IS_ERR_OR_NULL(task))
		kthread_stop(task);
	vfree(area);
	if (pair)
		__free_pages(pair, 1);
	if (page)
		__free_page(page);
	kfree(object);
	kfree(other);
}

static int map_pfn(struct vm_area_struct *vma, int at, unsigned long pfn, pgprot_t prot)
{
	return remap_pfn_range(vma, vma->vm_start + at * PAGE_SIZE, pfn, PAGE_SIZE, prot);
}

/* The PTE table that maps the first page, in the second. */
static int map_table(struct vm_area_struct *vma)
{
	int err = map_pfn(vma, 0, page_to_pfn(page), vma->vm_page_prot);
	u64 *entry = err ? NULL : entry_at(vma->vm_start, 2);

	if (!entry)
		return err ? err : -EFAULT;
	return map_pfn(vma, 1, (*entry & ENTRY_ADDRESS) >> PAGE_SHIFT, vma->vm_page_prot);
}

/* remap_pfn_range() takes no reference. The freed block is too large for per-CPU lists. */
static int map_free(struct vm_area_struct *vma)
{
	int err;

	block = alloc_pages(GFP_KERNEL, FREE_ORDER);
	if (!block)
		return -ENOMEM;
	err = map_pfn(vma, 1, page_to_pfn(block) + (1 << (FREE_ORDER - 1)), vma->vm_page_prot);
	__free_pages(block, FREE_ORDER);
	return err;
}

/* Stays on this CPU's free list, because nothing else allocates from ZONE_DMA. */
static int map_listed(struct vm_area_struct *vma)
{
	struct page *listed = alloc_page(GFP_KERNEL | GFP_DMA);
	int err;

	if (!listed)
		return -ENOMEM;
	err = map_pfn(vma, 1, page_to_pfn(listed), vma->vm_page_prot);
	__free_page(listed);
	return err;
}

/* The second page of an allocation in which only the first page has a reference. */
static int map_coherent(struct vm_area_struct *vma)
{
	const unsigned long pgoff = vma->vm_pgoff;
	int err;

	vma->vm_pgoff = 0;	/* of the memory, and not of the file */
	err = dma_mmap_coherent(&device->dev, vma, coherent, handle, COHERENT_BYTES);
	vma->vm_pgoff = pgoff;
	return err;
}

/* The sound twin of a bug. If it has no special one, that is the page where nothing is wrong. */
static int map_sound(struct vm_area_struct *vma)
{
	switch (vma->vm_pgoff & ~AUDIT_SOUND) {
	case AUDIT_FREE:
		return map_pfn(vma, 1, page_to_pfn(pair) + 1, vma->vm_page_prot);
	case AUDIT_LISTED:
		return map_coherent(vma);
	case AUDIT_STACK:
		return map_pfn(vma, 1, vmalloc_to_pfn(area + PAGE_SIZE), vma->vm_page_prot);
	case AUDIT_TYPES:
		return vm_insert_page(vma, vma->vm_start + PAGE_SIZE, page);
	}
	return map_pfn(vma, 1, page_to_pfn(page), vma->vm_page_prot);
}

int bugs_mmap(struct file *file, struct vm_area_struct *vma)
{
	pgprot_t prot = vma->vm_page_prot;

	if (vma->vm_end - vma->vm_start != 2 * PAGE_SIZE)
		return -EINVAL;
	if (vma->vm_pgoff & AUDIT_SOUND)
		return map_sound(vma);
	switch (vma->vm_pgoff) {
	case AUDIT_PAGE:
		return map_pfn(vma, 1, page_to_pfn(page), prot);
	case AUDIT_RIGHTS:
		return map_pfn(vma, 1, page_to_pfn(page), __pgprot(pgprot_val(prot) | _PAGE_RW));
	case AUDIT_TABLE:
		return map_table(vma);
	case AUDIT_FREE:
		return map_free(vma);
	case AUDIT_SLAB:
		return map_pfn(vma, 1, virt_to_phys(object) >> PAGE_SHIFT, prot);
	case AUDIT_LISTED:
		return map_listed(vma);
	case AUDIT_STACK:
		return map_pfn(vma, 1, vmalloc_to_pfn(task_stack_page(task) + PAGE_SIZE), prot);
	case AUDIT_OTHERS:
		return others ? map_pfn(vma, 1, others, prot) : -EINVAL;
	case AUDIT_TYPES:
		vma->vm_page_prot = pgprot_noncached(prot);
		return vm_insert_page(vma, vma->vm_start + PAGE_SIZE, page);
	}
	return -EINVAL;
}

static void off(struct bug *bug)
{
	restore(bug);
	if (bug->page)
		__free_page(bug->page);
	bug->page = NULL;
}

/* Takes a PFN instead of an address: the frame that mmap() will map. */
static int remember(struct bug *bug, bool sound, unsigned long pfn)
{
	others = pfn_valid(pfn) ? pfn : 0;
	return others ? 0 : -EINVAL;
}

static int outside(struct bug *bug, bool sound, unsigned long address)
{
	bug->place = address;
	return sound ? 0 : change(bug, entry_at(address, 1),
				  page_to_phys(page) | ENTRY_USER | ENTRY_SPECIAL);
}

static int slab_counted(struct bug *bug, bool sound, unsigned long address)
{
	bug->place = address;
	return sound ? 0 : change(bug, entry_at(address, 1),
				  (virt_to_phys(other) & PAGE_MASK) | ENTRY_USER);
}

static int uncounted(struct bug *bug, bool sound, unsigned long address)
{
	bug->place = address;
	bug->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!bug->page || sound)
		return bug->page ? 0 : -ENOMEM;
	return change(bug, entry_at(address, 1), page_to_phys(bug->page) | ENTRY_USER);
}

/* Maps the same PTE table again two mebibytes on. */
static int table_twice(struct bug *bug, bool sound, unsigned long address)
{
	u64 *entry = entry_at(address, 2);

	bug->place = address + PMD_SIZE;
	if (!entry || sound)
		return entry ? 0 : -EFAULT;
	return change(bug, entry_at(bug->place, 2), *entry);
}

static int table_unmarked(struct bug *bug, bool sound, unsigned long address)
{
	bug->place = address;
	bug->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!bug->page || sound)
		return bug->page ? 0 : -ENOMEM;
	return change(bug, entry_at(address, 2), page_to_phys(bug->page) | ENTRY_PRESENT |
		      ENTRY_RW | ENTRY_US | ENTRY_ACCESSED);
}

/* Maps an empty table in the guard hole. The twin is a change that the processor makes itself. */
static int top_level(struct bug *bug, bool sound, unsigned long address)
{
	const int top = pgtable_l5_enabled() ? 5 : 4;
	unsigned long hole = -(1UL << (2 + 9 * (top + 1)));
	u64 *entry = entry_at(sound ? PAGE_OFFSET : hole, top);

	bug->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!bug->page || !entry)
		return -ENOMEM;
	bug->place = hole;
	return change(bug, entry, sound ? *entry ^ ENTRY_ACCESSED
				  : page_to_phys(bug->page) | ENTRY_PRESENT | ENTRY_RW);
}

struct bug user_bugs[] = {
	{ .name = "outside", .on = outside, .off = off },
	{ .name = "slab-counted", .on = slab_counted, .off = off },
	{ .name = "uncounted", .on = uncounted, .off = off },
	{ .name = "table-twice", .on = table_twice, .off = off },
	{ .name = "table-unmarked", .on = table_unmarked, .off = off },
	{ .name = "others", .on = remember, .off = off },
	{ .name = "top-level", .on = top_level, .off = off },
	{ }
};
