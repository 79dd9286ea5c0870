// SPDX-License-Identifier: GPL-2.0-or-later
/* Bugs in the kernel's page tables, each with its sound twin. */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/set_memory.h>
#include <linux/vmalloc.h>

#include "bugs.h"

typedef int set_memory_fn(unsigned long address, int pages);

static void free_all(struct bug *bug)
{
	restore(bug);
	vfree(is_vmalloc_addr(bug->memory) && !bug->page ? bug->memory : NULL);
	if (bug->page) {
		if (bug->memory)
			vunmap(bug->memory);
		__free_page(bug->page);
	}
	bug->page = NULL;
	bug->memory = NULL;
}

/* A page with a mapping in vmalloc space. */
static int map_page(struct bug *bug)
{
	bug->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	bug->memory = bug->page ? vmap(&bug->page, 1, VM_MAP, PAGE_KERNEL) : NULL;
	bug->place = (unsigned long)bug->memory;
	return bug->memory ? 0 : -ENOMEM;
}

static int own_page(struct bug *bug)
{
	bug->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	bug->place = bug->page ? (unsigned long)page_address(bug->page) : 0;
	return bug->page ? 0 : -ENOMEM;
}

/* Code is written, then sealed; or it stays writable. */
static int write_execute(struct bug *bug, bool sound, unsigned long address)
{
	set_memory_fn *set_ro = (set_memory_fn *)symbol("set_memory_ro");
	set_memory_fn *set_x = (set_memory_fn *)symbol("set_memory_x");
	int err = map_page(bug);

	if (err || !set_ro || !set_x)
		return err ? err : -ENOENT;
	return (sound ? set_ro(bug->place, 1) : 0) ?: set_x(bug->place, 1);
}

static void write_execute_off(struct bug *bug)
{
	set_memory_fn *set_rw = (set_memory_fn *)symbol("set_memory_rw");
	set_memory_fn *set_nx = (set_memory_fn *)symbol("set_memory_nx");

	if (bug->memory && set_rw && set_nx) {
		set_nx(bug->place, 1);
		set_rw(bug->place, 1);
	}
	free_all(bug);
}

static int open_to_user(struct bug *bug, bool sound, unsigned long address)
{
	int level, err = map_page(bug);

	/* In vmalloc's tables only the last level decides (_PAGE_TABLE has US). */
	for (level = 2; !err && level <= 4; level++) {
		u64 *entry = entry_at(bug->place, level);

		if (entry && !(*entry & ENTRY_US))
			return -EPERM;
	}
	if (err || sound)
		return err;
	return change(bug, entry_at(bug->place, 1), *entry_at(bug->place, 1) | ENTRY_US);
}

/* The text's first page in the direct map. */
static int text_alias(struct bug *bug, bool sound, unsigned long address)
{
	unsigned long text = symbol("_text");
	u64 *leaf = text ? leaf_of(text) : NULL;

	if (!leaf)
		return -ENOENT;
	bug->place = (unsigned long)__va(*leaf & ENTRY_ADDRESS & ~0x1fffULL);
	leaf = leaf_of(bug->place);
	if (!leaf)
		return -ENOENT;
	return change(bug, leaf, sound ? *leaf | ENTRY_ACCESSED : *leaf | ENTRY_RW);
}

static int rodata(struct bug *bug, bool sound, unsigned long address)
{
	u64 *leaf;

	bug->place = symbol("__start_rodata");
	leaf = bug->place ? leaf_of(bug->place) : NULL;
	if (!leaf)
		return -ENOENT;
	return change(bug, leaf, sound ? *leaf | ENTRY_ACCESSED : *leaf | ENTRY_RW);
}

static int physmap_missing(struct bug *bug, bool sound, unsigned long address)
{
	u64 *entry;
	int err = own_page(bug);

	if (err)
		return err;
	entry = physmap_entry(bug->page);
	return sound ? 0 : change(bug, entry, 0);
}

/*
 * A page that the kernel can access through vmalloc space only. Not a bug by itself: memfd_secret()
 * and others remove pages from the direct map. Tests read it through /proc/kcore.
 */
static int physmap_apart(struct bug *bug, bool sound, unsigned long address)
{
	int err = map_page(bug);

	if (err)
		return err;
	strscpy(bug->memory, "pageproof apart", PAGE_SIZE);
	return sound ? 0 : change(bug, physmap_entry(bug->page), 0);
}

/* An entry with the caller's frame: beyond all memory, or beyond the CPU's address width. */
static int foreign_frame(struct bug *bug, bool sound, unsigned long address)
{
	u64 *entry;
	int err = map_page(bug);

	if (err)
		return err;
	entry = entry_at(bug->place, 1);
	if (!entry || sound)
		return entry ? 0 : -EFAULT;
	return change(bug, entry, (*entry & ~ENTRY_ADDRESS) | (address & ENTRY_ADDRESS));
}

static int physmap_frame(struct bug *bug, bool sound, unsigned long address)
{
	u64 *entry;
	int err = own_page(bug);

	if (err)
		return err;
	entry = physmap_entry(bug->page);
	if (!entry || sound)
		return entry ? 0 : -EFAULT;
	return change(bug, entry, *entry ^ BIT_ULL(PAGE_SHIFT));
}

/* The bug changes the entry itself. The twin uses set_memory_uc(), which marks struct page. */
static int physmap_type(struct bug *bug, bool sound, unsigned long address)
{
	u64 *entry;
	int err = own_page(bug);

	if (err)
		return err;
	entry = physmap_entry(bug->page);
	if (sound)
		return set_memory_uc(bug->place, 1);
	return entry ? change(bug, entry, *entry | ENTRY_PCD | ENTRY_PWT) : -EFAULT;
}

static void physmap_type_off(struct bug *bug)
{
	restore(bug);
	if (bug->page)
		set_memory_wb(bug->place, 1);
	free_all(bug);
}

/* An entry at the address of a freed area, before it is reused. The twin is in an area. */
static int unowned(struct bug *bug, bool sound, unsigned long address)
{
	void *area;

	if (sound)
		return map_page(bug);
	bug->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	area = vmalloc(PAGE_SIZE);
	if (!bug->page || !area) {
		vfree(area);
		return -ENOMEM;
	}
	bug->place = (unsigned long)area;
	vfree(area);
	return change(bug, entry_at(bug->place, 1),
		      page_to_phys(bug->page) | ENTRY_PRESENT | ENTRY_RW | ENTRY_NX);
}

/* An entry in the guard page behind an area. */
static int beyond(struct bug *bug, bool sound, unsigned long address)
{
	u64 *entry;

	bug->memory = vmalloc(2 * PAGE_SIZE);
	if (!bug->memory)
		return -ENOMEM;
	bug->place = (unsigned long)bug->memory + (sound ? 0 : 2 * PAGE_SIZE);
	entry = entry_at((unsigned long)bug->memory, 1);
	if (!entry || sound)
		return entry ? 0 : -EFAULT;
	return change(bug, entry_at(bug->place, 1), *entry);
}

/* An entry inside an area with the frame of another page. */
static int wrong_page(struct bug *bug, bool sound, unsigned long address)
{
	u64 *first, *second;

	bug->memory = vmalloc(2 * PAGE_SIZE);
	if (!bug->memory)
		return -ENOMEM;
	bug->place = (unsigned long)bug->memory + PAGE_SIZE;
	first = entry_at((unsigned long)bug->memory, 1);
	second = entry_at(bug->place, 1);
	if (!first || !second)
		return -EFAULT;
	return sound ? 0 : change(bug, second, *first);
}

struct bug kernel_bugs[] = {
	{ .name = "write-execute", .on = write_execute, .off = write_execute_off },
	{ .name = "open-to-user", .on = open_to_user, .off = free_all },
	{ .name = "text-alias", .on = text_alias, .off = free_all },
	{ .name = "rodata", .on = rodata, .off = free_all },
	{ .name = "physmap-missing", .on = physmap_missing, .off = free_all },
	{ .name = "physmap-apart", .on = physmap_apart, .off = free_all },
	{ .name = "frame-nowhere", .on = foreign_frame, .off = free_all },
	{ .name = "frame-reserved", .on = foreign_frame, .off = free_all },
	{ .name = "physmap-frame", .on = physmap_frame, .off = free_all },
	{ .name = "physmap-type", .on = physmap_type, .off = physmap_type_off },
	{ .name = "vmalloc-unowned", .on = unowned, .off = free_all },
	{ .name = "vmalloc-beyond", .on = beyond, .off = free_all },
	{ .name = "vmalloc-page", .on = wrong_page, .off = free_all },
	{ }
};
