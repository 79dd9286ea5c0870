// SPDX-License-Identifier: GPL-2.0-or-later
/* Looking up a frame: binary search in each class, then the places of shared tables. */
#include <stdlib.h>

#include "index.h"

int pw_compare_shares(const void *left, const void *right)
{
	const struct share *a = left, *b = right;

	if (a->bytes != b->bytes)
		return a->bytes < b->bytes ? -1 : 1;
	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* The mappings that a lookup has found. count goes on when the room is full. */
struct found {
	struct pw_mapping *mappings;
	size_t room, count;
};

static void add_mapping(struct found *found, const struct pw_mapping *mapping)
{
	if (found->count == PW_INDEX_MOST)
		return;
	if (found->count < found->room)
		found->mappings[found->count] = *mapping;
	found->count++;
}

/* Index of the first share that does not sort before the wanted one. */
static size_t first_share(const struct pw_index *index, const struct share *wanted)
{
	size_t low = 0, high = index->share_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (pw_compare_shares(&index->shares[middle], wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Add a mapping, and its other places through shared tables that span at least bytes. From such a
 * place only tables that span more can lead to a further place, so the recursion is at most as
 * deep as there are levels.
 */
static void add_with_shares(const struct pw_index *index, const struct pw_mapping *mapping,
			    struct found *found, uint64_t bytes)
{
	add_mapping(found, mapping);
	while (found->count < PW_INDEX_MOST) {
		/* Find the next size of a share, then the shares of that size that hold the address. */
		struct share wanted = { .bytes = bytes };
		size_t i = first_share(index, &wanted);

		if (i == index->share_count)
			return;
		wanted.bytes = index->shares[i].bytes;
		wanted.space = mapping->space;
		wanted.first = mapping->address & -wanted.bytes;
		i = first_share(index, &wanted);
		for (; i < index->share_count && found->count < PW_INDEX_MOST &&
		       !pw_compare_shares(&index->shares[i], &wanted); i++) {
			const struct share *share = &index->shares[i];
			struct pw_mapping other = *mapping;

			other.address = (share->start & -share->bytes) |
					(mapping->address - wanted.first);
			if (other.address >= share->start && other.address <= share->last)
				add_with_shares(index, &other, found, wanted.bytes + 1);
		}
		bytes = wanted.bytes + 1;
	}
}

static int compare(const void *left, const void *right)
{
	const struct pw_mapping *a = left, *b = right;

	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	return a->address < b->address ? -1 : a->address > b->address;
}

/* The first record of a class that begins at pfn or above. */
static size_t first_from(const struct records *class, uint64_t pfn)
{
	size_t low = 0, high = class->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (class->records[middle].high >> PFN_SHIFT < pfn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool pw_index_covers(const struct pw_index *index, uint64_t pfn)
{
	return !index->wanted || pw_is_wanted(index->wanted, pfn, 1);
}

size_t pw_index_lookup(const struct pw_index *index, uint64_t pfn, size_t room,
		       struct pw_mapping *ret)
{
	struct found found = { ret, room, 0 };

	if (!index->page_shift || !pw_index_covers(index, pfn))
		return 0;
	for (unsigned int number = 0; number < CLASSES; number++) {
		const struct records *class = &index->class[number];
		uint64_t reach = (UINT64_C(2) << number) - 1;	/* the longest of the class */
		size_t i = first_from(class, pfn >= reach ? pfn - reach + 1 : 0);

		for (; i < class->count && class->records[i].high >> PFN_SHIFT <= pfn; i++) {
			const struct pw_record *record = &class->records[i];
			uint64_t offset = pfn - (record->high >> PFN_SHIFT);
			uint64_t vpn = record->low >> VPN_SHIFT;

			if (offset >= pages_of(record))
				continue;
			/* The record keeps 45 bits: extend the sign. */
			vpn = (uint64_t)((int64_t)(vpn << VPN_SHIFT) >> VPN_SHIFT);
			add_with_shares(index, &(struct pw_mapping){
				.address = (vpn + offset) << index->page_shift,
				.space = (uint32_t)(record->high >> SPACE_SHIFT) & 0xffff,
				.level = (uint8_t)(record->high >> LEVEL_SHIFT & 0x7),
				.rights = record->high & RIGHTS_MASK,
				.memory_type = record->low & TYPE_MASK,
			}, &found, 0);
		}
	}
	qsort(ret, found.count < room ? found.count : room, sizeof(*ret), compare);
	return found.count;
}
