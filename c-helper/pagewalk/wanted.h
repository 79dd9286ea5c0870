/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A few wanted frames: the entries of a table that may name one of them. */
#ifndef PAGEWALK_WANTED_H
#define PAGEWALK_WANTED_H

#include "runs.h"

/* Bits of a PFN that are looked up first. The table of them, 16 KiB, stays in the L1 cache. */
#define WANTED_BITS 17

struct wanted {
	uint64_t *pfns;			/* sorted, without duplicates */
	size_t count;
	uint64_t bitmap[1 << WANTED_BITS >> 6];
};

/* Returns NULL if there is no memory. */
struct wanted *pw_wanted_create(const uint64_t *pfns, size_t count);
void pw_wanted_destroy(struct wanted *wanted);

/* Whether one of the frames from pfn on is wanted. pages: at least 1. */
bool pw_is_wanted(const struct wanted *wanted, uint64_t pfn, uint64_t pages);
/*
 * Return the first entry from i on of a last-level table that may name a wanted frame, or end.
 * Whether it does must be decoded.
 */
uint32_t pw_next_wanted(const struct wanted *wanted, const struct pw_paging *paging,
			const struct table *table, uint32_t i, uint32_t end);

#endif
