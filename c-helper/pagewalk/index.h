/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The index of frames: for a frame, all its mappings.
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
 * Records are in classes by length, 2^c to 2^(c+1)-1 pages, and each class is sorted by PFN. A
 * record of class c that covers a frame begins less than 2^(c+1) pages before it. A binary search
 * finds the first candidate, so the records need no tree. Every record of the class is at least
 * 2^c pages long, so if frames are mapped evenly, more than half of the candidates are hits.
 */
#ifndef PAGEWALK_INDEX_H
#define PAGEWALK_INDEX_H

#include "wanted.h"

#define PFN_SHIFT 24
#define SPACE_SHIFT 8
#define LEVEL_SHIFT 5
#define RIGHTS_MASK 0x1f
#define VPN_SHIFT 19
#define PAGES_SHIFT 3
#define MOST_PAGES 0xffff
#define TYPE_MASK 0x7
#define CLASSES 16

_Static_assert(PFN_SHIFT + PW_PFN_BITS == 64 && VPN_SHIFT + PW_HALF_PAGE_BITS + 1 == 64,
	       "pw_form_error() admits what fits into a record");
_Static_assert(PW_ALL_RIGHTS <= RIGHTS_MASK && PW_MAX_MEMORY_TYPES <= TYPE_MASK + 1,
	       "rights and memory types fit into a record");

/* A table that was not walked again: what is mapped from first on is also mapped at start. */
struct share {
	uint64_t bytes;			/* under an entry that points at the table */
	uint64_t first;			/* aligned to that */
	uint64_t start, last;		/* the part of this place that was swept */
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
	struct wanted *wanted;		/* NULL: all frames */
	uint8_t page_shift;		/* of all spaces; 0 before the first */
};

static inline uint64_t pages_of(const struct pw_record *record)
{
	return record->low >> PAGES_SHIFT & MOST_PAGES;
}

/* lookup.c: order by bytes, space and first, so that shares that hold an address adjoin. */
int pw_compare_shares(const void *left, const void *right);

#endif
