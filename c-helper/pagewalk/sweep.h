/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the sweep share: sweep.c goes down, frames.c reads runs, batch.c merges. */
#ifndef PAGEWALK_SWEEP_H
#define PAGEWALK_SWEEP_H

#include "internal.h"

/* Ranges are handed over this many at a time: a call for each would cost more than the walk. */
#define BATCH 256

/* What only the engine returns from inside: the bound was reached. */
#define WORK_DONE (-0x7fff0000)
#define NO_MEMORY (WORK_DONE + 1)

struct sweep {
	const struct pw_paging *paging;
	const struct pw_memory *memory;
	const struct pw_sweep_options *options;
	uint64_t first, last;		/* what is asked of this half */
	uint64_t entries_left;
	uint64_t ignore;
	pw_range_fn *hook;
	void *arg;
	struct pw_sweep_stats stats;
	struct pw_seen seen;
	unsigned char *buffer[PW_MAX_LEVELS];	/* a table of each level, for the callback */
	size_t count;
	struct pw_range ranges[BATCH];
};

/* One table on the way, and what of it is asked. */
struct table {
	const struct pw_level *level;
	unsigned int depth;
	uint64_t paddr;
	uint64_t base;			/* the virtual address of entry 0 */
	uint8_t rights;			/* what the levels above leave */
	const void *bytes;
	uint32_t end;			/* one past the last entry that is asked */
};

static inline uint64_t start_of(const struct sweep *s, const struct table *table, uint32_t index)
{
	uint64_t start = table->base + ((uint64_t)index << table->level->shift);

	return start < s->first ? s->first : start;
}

static inline uint64_t last_of(const struct sweep *s, const struct table *table, uint32_t index)
{
	uint64_t last = table->base + ((uint64_t)index << table->level->shift) +
			(pw_level_bytes(table->level) - 1);

	return last > s->last ? s->last : last;
}

/* batch.c: ranges on their way to the hook. */

/* Hand the batch over: when it is full and a range comes that does not continue its last one. */
int pw_flush(struct sweep *s);
/* Give a range: continue the one before where that is asked for and right. */
int pw_emit(struct sweep *s, const struct pw_range *range);

/* Field by field: a copy in one piece would wait for the stores of its pieces. */
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

/* Give a range that continues nothing. */
static inline int append(struct sweep *s, const struct pw_range *range)
{
	int err;

	if (s->count == BATCH) {
		err = pw_flush(s);
		if (err)
			return err;
	}
	put_range(&s->ranges[s->count++], range, range->start, range->last, range->paddr,
		  range->entry);
	return 0;
}

/* frames.c: runs of entries. */

/*
 * One past the last entry that is as entry i plus step for each entry on, in the bits of mask.
 * end: one past the last entry to look at.
 */
uint32_t pw_run_end(const void *table, uint32_t i, uint32_t end, uint64_t flip, uint64_t mask,
		    uint64_t step);
/*
 * A frame at entry i, and those after it that have the same attributes: they need no decoding.
 * *ret: the first entry that is something else.
 */
int pw_sweep_frames(struct sweep *s, const struct table *table, uint32_t i,
		    const struct pw_entry *entry, uint32_t *ret);

#endif
