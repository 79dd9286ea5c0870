// SPDX-License-Identifier: GPL-2.0-or-later
/* The memory of each case: the kernel's pages, and the pages that a mapping gets. */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "shares_bugs.h"

#define BLOCK_ORDER	3	/* SHARES_BUGS_PAGES */
#define SUB_PAGE_BYTES	256
#define TRIES		64	/* to get memory with the wanted layout */

static struct kmem_cache *cases, *doomed_cases;

/* A cache with a constructor has its own slabs, and does not write to free objects. */
static void construct(void *object)
{
	memset(object, 0, sizeof(struct shares_bugs_case));
}

int shares_bugs_memory_init(void)
{
	cases = kmem_cache_create("shares_bugs_case", sizeof(struct shares_bugs_case), 0, 0,
				  construct);
	doomed_cases = kmem_cache_create("shares_bugs_doomed", sizeof(struct shares_bugs_case), 0,
					 0, construct);
	if (!cases || !doomed_cases)
		return -ENOMEM;
	/* An object that stays allocated keeps the slab of the others. */
	return kmem_cache_alloc(doomed_cases, GFP_KERNEL) ? 0 : -ENOMEM;
}

struct shares_bugs_case *shares_bugs_case_alloc(bool doomed)
{
	return kmem_cache_alloc(doomed ? doomed_cases : cases, GFP_KERNEL);
}

/* Called while its file is open: the bug. Nothing else allocates it, so it stays free. */
void shares_bugs_case_free(struct shares_bugs_case *one)
{
	kmem_cache_free(doomed_cases, one);
	/* Flush the per-CPU caches to the slab's own list of free objects. */
	kmem_cache_shrink(doomed_cases);
}

struct page *shares_bugs_given(const struct shares_bugs_case *one, pgoff_t index)
{
	return index < SHARES_BUGS_PAGES ? one->given[index] : NULL;
}

/* Label the page, because pages of zeros are no evidence. */
static void fill(struct page *page, const char *what, int number)
{
	snprintf(page_address(page), PAGE_SIZE, "shares_bugs %s %d", what, number);
}

static void all_pages(struct shares_bugs_case *one, struct page *first)
{
	int i;

	for (i = 0; i < SHARES_BUGS_REGION; i++) {
		one->pages[i] = first + i;
		one->given[i] = first + i;
		fill(first + i, "page", i);
	}
}

/* Four pages and four neighbours, each with a reference of its own. */
int make_block(struct shares_bugs_case *one)
{
	struct page *first = alloc_pages(GFP_KERNEL | __GFP_ZERO, BLOCK_ORDER);
	int i;

	if (!first)
		return -ENOMEM;
	split_page(first, BLOCK_ORDER);
	one->kernel = page_address(first);
	all_pages(one, first);
	for (i = SHARES_BUGS_REGION; i < SHARES_BUGS_PAGES; i++) {
		one->given[i] = first + i;
		fill(first + i, "neighbour", i);
	}
	return 0;
}

int make_wrong_frame(struct shares_bugs_case *one)
{
	int err = make_block(one);

	if (!err && !one->sound)
		one->given[2] = one->given[6];
	return err;
}

int make_wrong_order(struct shares_bugs_case *one)
{
	int err = make_block(one);

	if (!err && !one->sound) {
		swap(one->given[0], one->given[3]);
		swap(one->given[1], one->given[2]);
	}
	return err;
}

int make_off_by_one(struct shares_bugs_case *one)
{
	int err = make_block(one);
	int i;

	for (i = 0; !err && !one->sound && i < SHARES_BUGS_REGION; i++)
		one->given[i] = one->pages[i] + 1;
	return err;
}

/* As with vmalloc(): contiguous addresses, and frames that are not contiguous. */
int make_scattered(struct shares_bugs_case *one)
{
	static const int order[SHARES_BUGS_REGION] = { 0, 5, 7, 6 };
	int err = make_block(one);
	int i;

	for (i = 0; !err && i < SHARES_BUGS_REGION; i++)
		one->pages[i] = one->given[0] + order[i];
	for (i = 0; !err && one->sound && i < SHARES_BUGS_REGION; i++)
		one->given[i] = one->pages[i];
	if (!err)
		one->kernel = vmap(one->pages, SHARES_BUGS_REGION, VM_MAP, PAGE_KERNEL);
	return one->kernel ? err : -ENOMEM;
}

int make_partial(struct shares_bugs_case *one)
{
	int err = make_block(one);

	if (!one->sound) {
		one->given[2] = NULL;
		one->given[3] = NULL;
	}
	return err;
}

int make_zero_page(struct shares_bugs_case *one)
{
	int err = make_block(one);

	if (!err && !one->sound)
		one->given[1] = ZERO_PAGE(0);
	return err;
}

/*
 * Freed later in one piece, which is too large for per-CPU lists. In ZONE_DMA it stays free
 * while there is other memory.
 */
int make_unsplit(struct shares_bugs_case *one)
{
	struct page *first;

	first = alloc_pages(GFP_KERNEL | GFP_DMA | __GFP_ZERO, SHARES_BUGS_FREED_ORDER);
	if (!first)
		return -ENOMEM;
	one->kernel = page_address(first);
	all_pages(one, first);
	return 0;
}

/* Several pages, not compound: only the first has a reference, unless they are split. */
int make_tails(struct shares_bugs_case *one)
{
	struct page *first = alloc_pages(GFP_KERNEL | __GFP_ZERO, 2);

	if (!first)
		return -ENOMEM;
	if (one->sound)
		split_page(first, 2);
	one->kernel = page_address(first);
	all_pages(one, first);
	return 0;
}

static int take_page(struct shares_bugs_case *one, gfp_t gfp)
{
	struct page *page = alloc_page(gfp | __GFP_ZERO);

	if (!page)
		return -ENOMEM;
	one->kernel = page_address(page);
	one->pages[0] = page;
	one->given[0] = page;
	fill(page, "page", 0);
	return 0;
}

int make_single(struct shares_bugs_case *one)
{
	return take_page(one, GFP_KERNEL);
}

/* Movable, as the pages of processes are. */
int make_movable(struct shares_bugs_case *one)
{
	return take_page(one, GFP_HIGHUSER_MOVABLE);
}

/* A page-sized object of a slab. */
int make_object(struct shares_bugs_case *one)
{
	void *object = shares_bugs_object_alloc();

	if (!object)
		return -ENOMEM;
	one->kernel = object;
	one->pages[0] = virt_to_page(object);
	one->given[0] = one->pages[0];
	fill(one->pages[0], "object", 0);
	return 0;
}

/* The bug: the buffer is a part of a page, and the whole page is mapped. */
int make_sub_page(struct shares_bugs_case *one)
{
	if (one->sound)
		return take_page(one, GFP_KERNEL);
	one->kernel = kzalloc(SUB_PAGE_BYTES, GFP_KERNEL);
	if (!one->kernel)
		return -ENOMEM;
	one->pages[0] = virt_to_page(one->kernel);
	one->given[0] = one->pages[0];
	snprintf(one->kernel, SUB_PAGE_BYTES, "shares_bugs sub-page");
	return 0;
}

/* A page of this module's code. */
int make_text(struct shares_bugs_case *one)
{
	one->kernel = (void *)((unsigned long)make_text & PAGE_MASK);
	one->pages[0] = vmalloc_to_page(one->kernel);
	one->given[0] = one->pages[0];
	return one->pages[0] ? 0 : -EFAULT;
}

static int alias(struct shares_bugs_case *one, pgprot_t prot)
{
	int err = make_block(one);

	if (err)
		return err;
	one->kernel = vmap(one->pages, SHARES_BUGS_REGION, VM_MAP, prot);
	return one->kernel ? 0 : -ENOMEM;
}

int make_read_only_alias(struct shares_bugs_case *one)
{
	return alias(one, PAGE_KERNEL_RO);
}

int make_open_alias(struct shares_bugs_case *one)
{
	pgprot_t prot = PAGE_KERNEL;

	/* The tables above it have the bit: pmd_populate_kernel() sets it. */
	if (!one->sound)
		prot = __pgprot(pgprot_val(prot) | _PAGE_USER);
	return alias(one, prot);
}

/* The bug: only the user's side is uncached. */
int make_uncached(struct shares_bugs_case *one)
{
	int err = make_block(one);

	one->cache = SHARES_BUGS_UNCACHED_MINUS;
	if (!err && one->sound)
		err = set_memory_uc((unsigned long)one->kernel, SHARES_BUGS_PAGES);
	return err;
}

int make_combining(struct shares_bugs_case *one)
{
	int err = make_block(one);

	one->cache = SHARES_BUGS_WRITE_COMBINING;
	if (!err && one->sound)
		err = set_memory_wc((unsigned long)one->kernel, SHARES_BUGS_PAGES);
	return err;
}

/* The bug: the direct mapping is uncached, and both others are not. */
int make_physmap_uncached(struct shares_bugs_case *one)
{
	int err = alias(one, one->sound ? pgprot_noncached(PAGE_KERNEL) : PAGE_KERNEL);

	if (one->sound)
		one->cache = SHARES_BUGS_UNCACHED_MINUS;
	if (err)
		return err;
	return set_memory_uc((unsigned long)page_address(one->pages[0]), SHARES_BUGS_PAGES);
}

/*
 * The bug: kmalloc() of one page, and four are mapped. The next three are objects of other users:
 * the slab has at least four pages and is aligned to its size.
 */
int make_beyond_object(struct shares_bugs_case *one)
{
	size_t bytes = one->sound ? SHARES_BUGS_REGION * PAGE_SIZE : PAGE_SIZE;
	int i;

	for (i = 0; i < TRIES; i++) {
		one->kernel = kzalloc(bytes, GFP_KERNEL);
		if (!one->kernel)
			return -ENOMEM;
		if (IS_ALIGNED((unsigned long)one->kernel, SHARES_BUGS_REGION * PAGE_SIZE))
			break;
	}
	if (i == TRIES)
		return -EAGAIN;
	for (i = 0; i < SHARES_BUGS_REGION; i++)
		one->given[i] = virt_to_page(one->kernel) + i;
	for (i = 0; i < bytes / PAGE_SIZE; i++) {
		one->pages[i] = one->given[i];
		fill(one->pages[i], "object", i);
	}
	return 0;
}

/*
 * The bug: two pages of vmalloc(), and mmap() maps as many as the caller wants. Behind them are a
 * guard page, which has no frame, and another area.
 */
int make_beyond_area(struct shares_bugs_case *one)
{
	int pages = one->sound ? SHARES_BUGS_REGION : 2;
	char *behind = NULL;
	int i;

	for (i = 0; i < TRIES; i++) {
		one->kernel = vzalloc(pages * PAGE_SIZE);
		behind = vzalloc(PAGE_SIZE);
		if (!one->kernel || !behind)
			return -ENOMEM;
		if (one->sound || behind == one->kernel + (pages + 1) * PAGE_SIZE)
			break;
	}
	if (i == TRIES)
		return -EAGAIN;
	for (i = 0; i < pages; i++) {
		one->pages[i] = vmalloc_to_page(one->kernel + i * PAGE_SIZE);
		one->given[i] = one->pages[i];
		fill(one->pages[i], "area", i);
	}
	if (!one->sound)
		one->given[pages + 1] = vmalloc_to_page(behind);
	return 0;
}
