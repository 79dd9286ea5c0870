// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads by kernel virtual address: the direct map by subtraction, other memory by a walk. */
#include <string.h>

#include "structs_internal.h"

/* 32 MiB; structures that are read in no order may need more, and then pages are read again. */
#ifndef PW_CACHED_PAGES
#define PW_CACHED_PAGES 8192
#endif

bool pw_kernel_valid(const struct pw_kernel *kernel)
{
	const uint64_t page = UINT64_C(1) << kernel->paging->form->page_shift;
	const uint64_t offset = kernel->direct_first - kernel->direct_paddr;

	return kernel->direct_first > kernel->direct_last ||
	       !(offset & ((PW_CACHE_PAGE > page ? PW_CACHE_PAGE : page) - 1));
}

bool pw_reader_init(struct pw_reader *reader, const struct pw_kernel *kernel)
{
	memset(reader->translations, 0, sizeof(reader->translations));
	reader->kernel = kernel;
	return pw_cache_init(&reader->cache, kernel->memory, PW_CACHED_PAGES);
}

void pw_reader_deinit(struct pw_reader *reader)
{
	pw_cache_deinit(&reader->cache);
}

bool pw_reader_again(struct pw_reader *reader)
{
	pw_reader_deinit(reader);
	return pw_reader_init(reader, reader->kernel);
}

/* Translate an address outside the direct map. Returns 0, why there is none, or a negative number. */
static int walk_to(struct pw_reader *reader, uint64_t address, uint64_t *ret)
{
	const struct pw_kernel *kernel = reader->kernel;
	const unsigned int shift = kernel->paging->form->page_shift;
	const uint64_t page = address >> shift;
	struct pw_translation *slot = &reader->translations[page % PW_TRANSLATIONS];

	if (!slot->valid || slot->page != page) {
		struct pw_walk walk;
		int err = pw_walk(kernel->paging, &reader->cache.memory, kernel->roots, page << shift,
				  &walk);

		if (err)
			return err;
		if (walk.outcome != PW_LEAF)
			return walk.outcome == PW_TABLE ? PW_UNREADABLE : walk.outcome;
		*slot = (struct pw_translation){ page, walk.paddr, true };
	}
	*ret = slot->paddr | (address & ((UINT64_C(1) << shift) - 1));
	return 0;
}

/* The physical address, and how many bytes from there on adjoin. */
static int translate(struct pw_reader *reader, uint64_t address, uint64_t *paddr, uint64_t *length)
{
	const struct pw_kernel *kernel = reader->kernel;
	const uint64_t page = UINT64_C(1) << kernel->paging->form->page_shift;

	/* The cache holds pages of its own size. */
	*length = PW_CACHE_PAGE < page ? PW_CACHE_PAGE : page;
	*length -= address & (*length - 1);
	if (address < kernel->direct_first || address > kernel->direct_last)
		return walk_to(reader, address, paddr);
	*paddr = address - kernel->direct_first + kernel->direct_paddr;
	return 0;
}

int pw_fill_virtual(struct pw_reader *reader, uint64_t address, size_t pages)
{
	const struct pw_kernel *kernel = reader->kernel;
	const uint64_t first = address & -(uint64_t)PW_CACHE_PAGE;
	const uint64_t last = first + pages * PW_CACHE_PAGE - 1;

	if (first < kernel->direct_first || last > kernel->direct_last || last < first)
		return 0;
	return pw_cache_fill(&reader->cache, first - kernel->direct_first + kernel->direct_paddr,
			     pages);
}

void pw_prefetch_virtual(struct pw_reader *reader, uint64_t address)
{
	const struct pw_kernel *kernel = reader->kernel;

	if (address >= kernel->direct_first && address <= kernel->direct_last)
		pw_prefetch(kernel->memory, address - kernel->direct_first + kernel->direct_paddr);
}

int pw_read_virtual(struct pw_reader *reader, uint64_t address, size_t length, void *buffer,
		    const void **ret, uint64_t *fault)
{
	const void *bytes;
	size_t done = 0;

	while (done < length) {
		uint64_t paddr, room;
		size_t part = length - done;
		int err = translate(reader, address + done, &paddr, &room);

		if (part > room)
			part = (size_t)room;
		if (!err)
			err = pw_fetch(&reader->cache.memory, paddr, part, (char *)buffer + done,
				       &bytes);
		if (err) {
			*fault = address + done;
			return err;
		}
		if (part == length) {
			*ret = bytes;
			return 0;
		}
		if (bytes != (char *)buffer + done)
			memcpy((char *)buffer + done, bytes, part);
		done += part;
	}
	*ret = buffer;
	return 0;
}
