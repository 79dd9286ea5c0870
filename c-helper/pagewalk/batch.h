/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges on their way to the hook: merged as the caller wants it, many in one call. */
#ifndef PAGEWALK_BATCH_H
#define PAGEWALK_BATCH_H

#include "internal.h"

/* Ranges per call of the hook: one call for each range would cost more than the walk. */
#define BATCH 256

struct batch {
	const struct pw_paging *paging;
	uint64_t ignore;		/* bits that may differ inside a merged range */
	uint32_t skip;			/* PW_SKIP() of the kinds that are dropped */
	uint8_t merge;			/* enum pw_merge */
	pw_range_fn *hook;
	void *arg;
	size_t count;
	struct pw_range ranges[BATCH];
};

/* Call the hook with what the batch holds. Returns 0 or the hook's negative number. */
int pw_flush(struct batch *batch);
/* Add a range, or extend the last one if the two merge. Returns as pw_flush(). */
int pw_emit(struct batch *batch, const struct pw_range *range);

/* Copy field by field: a copy of the whole would stall on the stores to its parts. */
static inline void put_range(struct pw_range *to, const struct pw_range *like, uint64_t start,
			     uint64_t last, uint64_t paddr, uint64_t entry)
{
	to->start = start;
	to->last = last;
	to->paddr = paddr;
	to->entry = entry;
	to->table = like->table;
	to->shared_with = like->shared_with;
	to->level = like->level;
	to->kind = like->kind;
	to->rights = like->rights;
	to->memory_type = like->memory_type;
	to->gap_length = like->gap_length;
}

#endif
