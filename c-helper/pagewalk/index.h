/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For a frame all mappings of it.
 *
 * A record is a run of pages of one space, in 16 bytes:
 *
 *   high  63        24 23       8 7    5  4     0
 *        +------------+----------+------+--------+
 *        | first PFN  |  space   | level| rights |
 *        +------------+----------+------+--------+
 *   low   63              19 18       3 2       0
 *        +------------------+----------+---------+
 *        | virtual page     | pages    | type    |
 *        +------------------+----------+---------+
 *
 * Records lie in classes by length, 2^c to 2^(c+1)-1 pages, each sorted by PFN. Those that cover
 * a frame begin less than 2^(c+1) pages before it: found by binary search, with no tree beside
 * the records, and more than half of that stretch are hits if frames are mapped evenly.
 */
#ifndef PAGEWALK_INDEX_H
#define PAGEWALK_INDEX_H

#include "internal.h"

#define PFN_SHIFT 24
#define SPACE_SHIFT 8
#define LEVEL_SHIFT 5
#define RIGHTS_MASK 0x1f
#define VPN_SHIFT 19
#define PAGES_SHIFT 3
#define MOST_PAGES 0xffff
#define TYPE_MASK 0x7
#define CLASSES 16

/* A table that was not walked again: what is mapped from first on is mapped here too. */
struct share {
	uint64_t bytes;			/* under an entry that points at the table */
	uint64_t first;			/* aligned to that */
	uint64_t start, last;		/* the part of this place that was asked for */
	uint32_t space;
};

struct pw_index {
	struct records {
		struct pw_record *records;
		size_t count, room;
	} class[CLASSES];
	struct share *shares;
	size_t share_count, share_room;
	uint64_t pages;
	uint8_t page_shift;		/* of all spaces; 0 before the first */
};

static inline uint64_t pages_of(const struct pw_record *record)
{
	return record->low >> PAGES_SHIFT & MOST_PAGES;
}

/* lookup.c: by bytes, space and first, so that those that hold an address are together. */
int pw_compare_shares(const void *left, const void *right);

#endif
