// SPDX-License-Identifier: GPL-2.0
/* The shared memory: its parameters, allocation and page numbers. */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "umh_shm.h"

static unsigned long length = PAGE_SIZE;
module_param(length, ulong, 0444);
MODULE_PARM_DESC(length, "bytes to share, rounded up to whole pages (default: one page)");

static char *backing = "kzalloc";
module_param(backing, charp, 0444);
MODULE_PARM_DESC(backing, "where the memory comes from: kzalloc (default), pages, vmalloc");

static char *map = "remap";
module_param(map, charp, 0444);
MODULE_PARM_DESC(map, "how it is mapped: remap (default), fault, insert");

struct umh_shm_region umh_shm_region;

/* Limit for every backing. */
#define UMH_SHM_LENGTH_MAX	SZ_16M

static const char * const backing_names[] = {
	[UMH_SHM_BACKING_KZALLOC]	= "kzalloc",
	[UMH_SHM_BACKING_PAGES]		= "pages",
	[UMH_SHM_BACKING_VMALLOC]	= "vmalloc",
};

static const unsigned long backing_max[] = {
	[UMH_SHM_BACKING_KZALLOC]	= KMALLOC_MAX_SIZE,
	[UMH_SHM_BACKING_PAGES]		= PAGE_SIZE << MAX_PAGE_ORDER,
	[UMH_SHM_BACKING_VMALLOC]	= UMH_SHM_LENGTH_MAX,
};

static const char * const map_names[] = {
	[UMH_SHM_MAP_REMAP]		= "remap",
	[UMH_SHM_MAP_FAULT]		= "fault",
	[UMH_SHM_MAP_INSERT]		= "insert",
};

const char *umh_shm_backing_name(enum umh_shm_backing which)
{
	return backing_names[which];
}

const char *umh_shm_map_name(enum umh_shm_map which)
{
	return map_names[which];
}

/* Reads the parameters into @region. Returns 0, or -EINVAL after one line in the log. */
static int region_parse(struct umh_shm_region *region)
{
	unsigned long max;
	int found;

	found = sysfs_match_string(backing_names, backing);
	if (found < 0) {
		pr_err("backing=%s: not one of kzalloc, pages, vmalloc\n", backing);
		return -EINVAL;
	}
	region->backing = found;

	found = sysfs_match_string(map_names, map);
	if (found < 0) {
		pr_err("map=%s: not one of remap, fault, insert\n", map);
		return -EINVAL;
	}
	region->map = found;

	if (region->backing == UMH_SHM_BACKING_VMALLOC && region->map == UMH_SHM_MAP_REMAP) {
		pr_err("backing=vmalloc map=remap: remap_pfn_range() needs contiguous memory, use map=fault or map=insert\n");
		return -EINVAL;
	}
	if (region->backing == UMH_SHM_BACKING_KZALLOC && region->map == UMH_SHM_MAP_INSERT) {
		pr_err("backing=kzalloc map=insert: vm_insert_page() refuses slab pages, use map=remap or map=fault\n");
		return -EINVAL;
	}

	max = min_t(unsigned long, backing_max[region->backing], UMH_SHM_LENGTH_MAX);
	if (!length || length > max) {
		pr_err("length=%lu: backing=%s supports 1 to %lu bytes\n", length,
		       backing_names[region->backing], max);
		return -EINVAL;
	}
	region->length = PAGE_ALIGN(length);
	region->nr_pages = region->length >> PAGE_SHIFT;
	return 0;
}

static void *region_alloc(const struct umh_shm_region *region)
{
	size_t size = region->length;

	switch (region->backing) {
	case UMH_SHM_BACKING_KZALLOC:
		/*
		 * page_table_check makes a BUG of a user mapping of a slab page
		 * (mm/page_table_check.c, since 6.4). Memory that is too large
		 * for kmalloc()'s caches is not in a slab.
		 */
		if (IS_ENABLED(CONFIG_PAGE_TABLE_CHECK))
			size = max_t(size_t, size, KMALLOC_MAX_CACHE_SIZE + 1);
		/*
		 * Page aligned: kmalloc() aligns powers of two naturally, and
		 * other numbers of pages are too large for its caches.
		 */
		return kzalloc(size, GFP_KERNEL | __GFP_NOWARN);
	case UMH_SHM_BACKING_PAGES:
		return alloc_pages_exact(region->length, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
	case UMH_SHM_BACKING_VMALLOC:
		return vmalloc_user(region->length);
	}
	return NULL;
}

/**
 * umh_shm_region_init() - allocate the memory that the parameters describe
 * @region: filled in; its pages are zeroed and on no LRU list, so never swapped
 *
 * Return: 0, -EINVAL for invalid parameters, -ENOMEM.
 */
int umh_shm_region_init(struct umh_shm_region *region)
{
	int err;

	err = region_parse(region);
	if (err)
		return err;
	region->kaddr = region_alloc(region);
	if (!region->kaddr) {
		pr_err("cannot allocate %lu bytes with backing=%s\n", region->length,
		       backing_names[region->backing]);
		return -ENOMEM;
	}
	if (WARN_ON_ONCE(!PAGE_ALIGNED(region->kaddr))) {
		umh_shm_region_free(region);
		return -EINVAL;
	}
	return 0;
}

/* Safe on a region that was never allocated. It must not be mapped any more. */
void umh_shm_region_free(struct umh_shm_region *region)
{
	if (!region->kaddr)
		return;
	switch (region->backing) {
	case UMH_SHM_BACKING_KZALLOC:
		kfree(region->kaddr);
		break;
	case UMH_SHM_BACKING_PAGES:
		free_pages_exact(region->kaddr, region->length);
		break;
	case UMH_SHM_BACKING_VMALLOC:
		vfree(region->kaddr);
		break;
	}
	region->kaddr = NULL;
}

/* Page @index of the region, for any backing. */
struct page *umh_shm_region_page(const struct umh_shm_region *region, unsigned long index)
{
	void *addr = region->kaddr + (index << PAGE_SHIFT);

	if (region->backing == UMH_SHM_BACKING_VMALLOC)
		return vmalloc_to_page(addr);
	return virt_to_page(addr);
}

unsigned long umh_shm_region_pfn(const struct umh_shm_region *region, unsigned long index)
{
	return page_to_pfn(umh_shm_region_page(region, index));
}
