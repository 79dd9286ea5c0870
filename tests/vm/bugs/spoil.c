// SPDX-License-Identifier: GPL-2.0-or-later
/* What goes wrong with memory while it is mapped. */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "shares_bugs.h"

/* Caches of our own, so that freed objects stay free. */
#define SMALL_BYTES	64
#define SMALL_OBJECTS	4096	/* enough to get the page that was just freed */

static struct kmem_cache *objects, *small_objects;

static void construct_page(void *object)
{
	memset(object, 0, PAGE_SIZE);
}

static void construct_small(void *object)
{
	memset(object, 's', SMALL_BYTES);
}

int shares_bugs_spoil_init(void)
{
	objects = kmem_cache_create("shares_bugs_object", PAGE_SIZE, PAGE_SIZE, 0,
				    construct_page);
	small_objects = kmem_cache_create("shares_bugs_small", SMALL_BYTES, 0, 0, construct_small);
	return objects && small_objects ? 0 : -ENOMEM;
}

/* Allocates more objects of the same slab, which keep it. */
void *shares_bugs_object_alloc(void)
{
	void *object = kmem_cache_alloc(objects, GFP_KERNEL);
	int i;

	for (i = 0; object && i < 2 * SHARES_BUGS_PAGES; i++)
		if (!kmem_cache_alloc(objects, GFP_KERNEL))
			return NULL;
	return object;
}

int spoil_object(struct shares_bugs_case *one)
{
	kmem_cache_free(objects, one->kernel);
	kmem_cache_shrink(objects);
	return 0;
}

int spoil_freed(struct shares_bugs_case *one)
{
	__free_pages(one->pages[0], SHARES_BUGS_FREED_ORDER);
	return 0;
}

/* The caller makes something reuse it. */
int spoil_freed_single(struct shares_bugs_case *one)
{
	__free_page(one->pages[0]);
	return 0;
}

/* A CPU reuses first the page that was freed last. */
int spoil_freed_slab(struct shares_bugs_case *one)
{
	int i;

	__free_page(one->pages[0]);
	for (i = 0; i < SMALL_OBJECTS; i++) {
		void *object = kmem_cache_alloc(small_objects, GFP_KERNEL);

		if (!object)
			return -ENOMEM;
		if (virt_to_page(object) == one->pages[0])
			return 0;
	}
	return -EAGAIN;
}

/* As memory_failure() leaves a page that it could not unmap. */
int spoil_poisoned(struct shares_bugs_case *one)
{
	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return -EOPNOTSUPP;
	SetPageHWPoison(one->pages[1]);
	return 0;
}

/* One put_page() too many. */
int spoil_reference(struct shares_bugs_case *one)
{
	int i;

	for (i = 0; i < SHARES_BUGS_REGION; i++)
		put_page(one->pages[i]);
	return 0;
}

/* As if page_remove_rmap() had been called for an entry that is still there. */
int spoil_mapcount(struct shares_bugs_case *one)
{
	atomic_dec(&one->pages[1]->_mapcount);
	return 0;
}

int spoil_region(struct shares_bugs_case *one)
{
	shares_bugs_case_free(one);
	return 0;
}
