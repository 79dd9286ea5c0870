// SPDX-License-Identifier: GPL-2.0-or-later
/* Building the index: sweeps go in, sorted records come out. */
#include <stdlib.h>

#include "index.h"
#include "tap.h"

/* Argument of the sweep's hook. */
struct adding {
	struct pw_index *index;
	uint32_t space;
	const struct pw_paging *paging;
	const struct pw_form *form;
	bool no_memory;
};

struct pw_index *pw_index_create(void)
{
	return calloc(1, sizeof(struct pw_index));
}

struct pw_index *pw_index_create_wanted(const uint64_t *pfns, size_t count)
{
	struct pw_index *index = pw_index_create();

	if (!index)
		return NULL;
	index->wanted = pw_wanted_create(pfns, count);
	if (index->wanted)
		return index;
	pw_index_destroy(index);
	return NULL;
}

void pw_index_destroy(struct pw_index *index)
{
	if (!index)
		return;
	for (unsigned int class = 0; class < CLASSES; class++)
		free(index->class[class].records);
	free(index->shares);
	pw_wanted_destroy(index->wanted);
	free(index);
}

/* Make room for one more element of size bytes. */
static bool make_room(void **array, size_t count, size_t *room, size_t size)
{
	size_t more = *room ? *room + *room / 2 : 256;
	void *larger;

	if (count < *room)
		return true;
	larger = realloc(*array, more * size);
	if (!larger)
		return false;
	*array = larger;
	*room = more;
	return true;
}

static bool add_record(struct pw_index *index, uint64_t high, uint64_t low, uint64_t pages)
{
	struct records *class = &index->class[63 - __builtin_clzll(pages)];

	if (!make_room((void **)&class->records, class->count, &class->room,
		       sizeof(*class->records)))
		return false;
	class->records[class->count++] = (struct pw_record){ high, low | pages << PAGES_SHIFT };
	index->pages += pages;
	return true;
}

static bool add_range(const struct adding *adding, const struct pw_range *range)
{
	uint64_t pfn = range->paddr >> adding->form->page_shift;
	uint64_t vpn = range->start >> adding->form->page_shift;
	uint64_t pages = (range->last >> adding->form->page_shift) - vpn + 1;
	const struct wanted *wanted = adding->index->wanted;
	uint64_t about = (uint64_t)adding->space << SPACE_SHIFT |
			 (uint64_t)range->level << LEVEL_SHIFT | range->rights;

	if (wanted && !pw_is_wanted(wanted, pfn, pages))
		return true;
	while (pages) {
		uint64_t here = pages < MOST_PAGES ? pages : MOST_PAGES;

		if (!add_record(adding->index, pfn << PFN_SHIFT | about,
				vpn << VPN_SHIFT | range->memory_type, here))
			return false;
		pfn += here;
		vpn += here;
		pages -= here;
	}
	return true;
}

static bool add_share(const struct adding *adding, const struct pw_range *range)
{
	struct pw_index *index = adding->index;

	if (!make_room((void **)&index->shares, index->share_count, &index->share_room,
		       sizeof(*index->shares)))
		return false;
	index->shares[index->share_count++] = (struct share){
		.bytes = pw_level_bytes(&adding->form->level[adding->form->levels - range->level]),
		.first = range->shared_with,
		.start = range->start & -(UINT64_C(1) << adding->form->page_shift),
		.last = range->last,
		.space = adding->space,
	};
	return true;
}

static int add_ranges(void *arg, const struct pw_range *ranges, size_t count)
{
	struct adding *adding = arg;

	for (size_t i = 0; i < count; i++) {
		bool added = ranges[i].kind == PW_TABLE ? add_share(adding, &ranges[i])
							: add_range(adding, &ranges[i]);

		if (!added) {
			adding->no_memory = true;
			return -1;
		}
	}
	return 0;
}

/* Add the pages of a last-level table whose frames are wanted; huge leaves come as ranges. */
static int add_wanted(void *arg, const struct table *table, uint32_t i, uint32_t end)
{
	struct adding *adding = arg;
	const struct pw_paging *paging = adding->paging;
	const bool upper = table->base >> 63;

	if (table->level->number > 1)
		return 0;
	for (;; i++) {
		struct pw_entry entry;
		uint64_t raw;

		i = pw_next_wanted(adding->index->wanted, paging, table, i, end);
		if (i == end)
			return 0;
		raw = pw_load(table->bytes, i);
		entry = pw_decode(paging, table->level, raw, upper);
		if (!pw_names_frame(entry.kind))
			continue;
		if (!add_range(adding, &(struct pw_range){
			.start = start_of(table, i), .last = last_of(table, i),
			.paddr = entry.base, .level = table->level->number,
			.rights = pw_frame_rights(paging, table, raw, entry.kind),
			.memory_type = pw_memory_type_of(paging, table->level, raw),
		})) {
			adding->no_memory = true;
			return -1;
		}
	}
}

int pw_index_add(struct pw_index *index, uint32_t space, const struct pw_paging *paging,
		 const struct pw_memory *memory, const uint64_t roots[2], uint64_t first,
		 uint64_t last, uint64_t max_entries, struct pw_sweep_stats *ret)
{
	struct adding adding = { index, space, paging, paging->form, false };
	const struct tap tap = { .entries = add_wanted, .arg = &adding };
	const struct pw_sweep_options options = {
		.first = first,
		.last = last,
		.max_entries = max_entries,
		.merge = PW_MERGE_FRAMES,
		.ignore = paging->form->ignorable,
		.shared_once = true,
		.shared_by_rights = true,	/* a record's rights must hold for its shares */
		.skip = ~(PW_SKIP(PW_LEAF) | PW_SKIP(PW_PROT_NONE) | PW_SKIP(PW_INVALIDATED) |
			  PW_SKIP(PW_TABLE)),
	};
	int err;

	if (space >= PW_INDEX_SPACES ||
	    (index->page_shift && index->page_shift != paging->form->page_shift))
		return PW_BAD_ARGUMENT;
	index->page_shift = paging->form->page_shift;
	err = pw_sweep_tapped(paging, memory, roots, &options, index->wanted ? &tap : NULL,
			      add_ranges, &adding, ret);
	return adding.no_memory ? PW_NO_MEMORY : err;
}

int pw_index_finish(struct pw_index *index)
{
	if (index->share_count)
		qsort(index->shares, index->share_count, sizeof(*index->shares), pw_compare_shares);
	for (unsigned int class = 0; class < CLASSES; class++) {
		struct records *here = &index->class[class];

		if (!pw_sort(here->records, here->count, PFN_SHIFT))
			return PW_NO_MEMORY;
		if (here->count && here->count < here->room) {
			void *smaller = realloc(here->records, here->count * sizeof(*here->records));

			here->records = smaller ? smaller : here->records;
			here->room = here->count;
		}
	}
	return PW_OK;
}

void pw_index_size(const struct pw_index *index, size_t *records, uint64_t *pages)
{
	*records = 0;
	for (unsigned int class = 0; class < CLASSES; class++)
		*records += index->class[class].count;
	*pages = index->pages;
}
