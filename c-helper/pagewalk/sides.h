/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One side of shared memory: the frames of many spans of one address space, as runs of pages.
 *
 * Pages have the number that the caller gives them (index): for memory that is shared, the page of
 * the region. So the kernel's side of a region is one call, and its result is what the calls for
 * the processes compare with.
 */
#ifndef PAGEWALK_SIDES_H
#define PAGEWALK_SIDES_H

#include "pagewalk.h"

/* Pages whose addresses adjoin. They need not be aligned; then paddr is not aligned either. */
struct pw_span {
	uint64_t index;			/* of the first page */
	uint64_t pages;
	uint64_t address;
};

/* Pages of a span whose entries are of one kind. */
struct pw_side {
	uint64_t index;			/* of the first page */
	uint64_t pages;
	uint64_t paddr;			/* of the first page, the others follow; or PW_NO_PADDR */
	uint32_t span;			/* its number in the array */
	uint8_t kind;			/* as the outcome of pw_walk() for each page */
	bool same;			/* the frames are the expected ones, wherever they are */
	uint8_t unused[2];
};

/* Receives runs in the order of the spans; a negative number ends the call. */
typedef int pw_side_fn(void *arg, const struct pw_side *sides, size_t count);

/*
 * Report what pw_walk() finds for each page of the spans, less PW_NONE and PW_NON_CANONICAL. A run
 * goes on while kind and frame do, but not into the next span. Spans may overlap. In order of
 * address they are quickest.
 *
 * expected: runs of an earlier call, in order of index and apart; NULL if expected_count is 0. A
 * page is expected at the frame of the run that has its index, if that is PW_LEAF or PW_PROT_NONE.
 * Pages of these kinds that are at their expected frame become runs with same set and without
 * paddr, which go on whatever their frames are.
 *
 * max_entries: the bound on work; 0: PW_MAX_ENTRIES. Tables are read through a cache that lives as
 * long as the call.
 *
 * Returns PW_OK, PW_BAD_ARGUMENT (a span beyond 2^64), PW_NO_MEMORY, PW_TOO_MUCH_WORK or a negative
 * number of a callback; the runs reported before are valid. With PW_TOO_MUCH_WORK *stopped_at is
 * the first address that was not looked at.
 */
int pw_sides(const struct pw_paging *paging, const struct pw_memory *memory,
	     const uint64_t roots[2], const struct pw_span *spans, size_t count,
	     const struct pw_side *expected, size_t expected_count, uint64_t max_entries,
	     pw_side_fn *hook, void *arg, uint64_t *stopped_at);

#endif
