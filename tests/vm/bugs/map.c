// SPDX-License-Identifier: GPL-2.0-or-later
/* Ways to map pages into an address space, and the resulting entries as the kernel finds them. */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>

#include "shares_bugs.h"

/* Operations of a module that may be unloaded. */
static const struct vm_operations_struct *borrowed;

static vm_fault_t shares_bugs_fault(struct vm_fault *vmf)
{
	const struct shares_bugs_case *one = vmf->vma->vm_file->private_data;
	struct page *page = shares_bugs_given(one, vmf->pgoff);

	if (!page)
		return VM_FAULT_SIGBUS;
	if (one->kind->map == map_raw_by_fault)
		return vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(page));
	if (one->kind->map != map_by_fault)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct shares_bugs_vm_ops = {
	.fault	= shares_bugs_fault,
};

static pgprot_t prot_of(const struct shares_bugs_case *one, const struct vm_area_struct *vma)
{
	switch (one->cache) {
	case SHARES_BUGS_UNCACHED_MINUS:
		return pgprot_noncached(vma->vm_page_prot);
	case SHARES_BUGS_WRITE_COMBINING:
		return pgprot_writecombine(vma->vm_page_prot);
	case SHARES_BUGS_WRITE_BACK:
		break;
	}
	return vma->vm_page_prot;
}

/* Ordinary pages: each is counted. */
int map_inserted(struct shares_bugs_case *one, struct vm_area_struct *vma)
{
	unsigned long i;
	int err = 0;

	/* vm_insert_page() uses these rights and this caching without a check. */
	vma->vm_page_prot = prot_of(one, vma);
	for (i = 0; !err && i < vma_pages(vma); i++) {
		struct page *page = shares_bugs_given(one, vma->vm_pgoff + i);

		if (page)
			err = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE, page);
	}
	return err;
}

/* Raw frames: nothing is counted. */
int map_remapped(struct shares_bugs_case *one, struct vm_area_struct *vma)
{
	unsigned long i;
	int err = 0;

	for (i = 0; !err && i < vma_pages(vma); i++) {
		struct page *page = shares_bugs_given(one, vma->vm_pgoff + i);
		pgprot_t prot = vma->vm_page_prot;

		if (!page)
			continue;
		/* All processes share the zero page, so map it read-only even here. */
		if (page == ZERO_PAGE(0))
			prot = vm_get_page_prot(VM_READ | VM_SHARED);
		err = remap_pfn_range(vma, vma->vm_start + i * PAGE_SIZE, page_to_pfn(page),
				      PAGE_SIZE, prot);
	}
	return err;
}

/* Ordinary pages, mapped on the first access. */
int map_by_fault(struct shares_bugs_case *one, struct vm_area_struct *vma)
{
	vma->vm_ops = &shares_bugs_vm_ops;
	return 0;
}

/* Raw frames, mapped on the first access: vmf_insert_pfn() requires only VM_PFNMAP. */
int map_raw_by_fault(struct shares_bugs_case *one, struct vm_area_struct *vma)
{
	vma->vm_ops = &shares_bugs_vm_ops;
	vm_flags_mod(vma, VM_PFNMAP, 0);
	return 0;
}

/* Raw frames in a VMA without VM_PFNMAP. */
int map_unmarked(struct shares_bugs_case *one, struct vm_area_struct *vma)
{
	int err = map_remapped(one, vma);

	if (!one->sound)
		vm_flags_mod(vma, 0, VM_PFNMAP);
	return err;
}

/* With the rights of a kernel page: the user bit is clear. */
int map_closed(struct shares_bugs_case *one, struct vm_area_struct *vma)
{
	if (!one->sound)
		vma->vm_page_prot = __pgprot(pgprot_val(vma->vm_page_prot) & ~_PAGE_USER);
	return map_remapped(one, vma);
}

/* With operations of a module that is not pinned. */
int map_borrowed(struct shares_bugs_case *one, struct vm_area_struct *vma)
{
	if (!one->sound) {
		if (!borrowed)
			return -ENODEV;
		vma->vm_ops = borrowed;
	}
	return map_inserted(one, vma);
}

/**
 * shares_bugs_lend() - use another module's operations for VMAs
 * @ops: of the caller's module, which is not pinned: that is the bug
 *
 * Return: 0.
 */
int shares_bugs_lend(const struct vm_operations_struct *ops)
{
	borrowed = ops;
	return 0;
}
EXPORT_SYMBOL_GPL(shares_bugs_lend);

struct told {
	struct shares_bugs_facts *facts;
	unsigned int page;
};

static int tell_entry(pte_t *pte, unsigned long addr, void *data)
{
	struct told *told = data;

	told->facts->user_entry[told->page++] = pte_val(*pte);
	return 0;
}

static u64 kernel_entry(unsigned long address, unsigned int *level)
{
	const pte_t *pte = lookup_address(address, level);

	return pte ? pte_val(*pte) : 0;
}

int shares_bugs_tell(const struct shares_bugs_case *one, struct shares_bugs_facts *facts)
{
	unsigned long pages = facts->pages;
	struct told told = { .facts = facts };
	int err, i;

	if (pages > SHARES_BUGS_PAGES)
		return -EINVAL;
	*facts = (struct shares_bugs_facts){ .address = facts->address, .pages = pages };
	facts->at = (uintptr_t)one;
	facts->kernel = (uintptr_t)one->kernel;
	for (i = 0; i < SHARES_BUGS_REGION && one->pages[i]; i++) {
		unsigned long kernel = ((unsigned long)one->kernel & PAGE_MASK) + i * PAGE_SIZE;
		unsigned long physmap = (unsigned long)page_address(one->pages[i]);
		unsigned int level;

		facts->physmap_entry[i] = kernel_entry(physmap, &level);
		facts->kernel_entry[i] = kernel_entry(kernel, &level);
		facts->kernel_level[i] = level;
		facts->region_pfn[i] = page_to_pfn(one->pages[i]);
	}
	mmap_read_lock(current->mm);
	err = apply_to_page_range(current->mm, facts->address, pages * PAGE_SIZE, tell_entry,
				  &told);
	mmap_read_unlock(current->mm);
	return err;
}
