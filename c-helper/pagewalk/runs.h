/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs of entries in one table. */
#ifndef PAGEWALK_RUNS_H
#define PAGEWALK_RUNS_H

#include "batch.h"

/* One table on the way of a sweep. */
struct table {
	const struct pw_level *level;
	unsigned int depth;		/* 0: the topmost */
	uint64_t paddr;
	uint64_t base;			/* the virtual address of entry 0 */
	uint64_t first, last;		/* the sweep's range in this half */
	uint8_t rights;			/* what the levels above leave */
	const void *bytes;
	uint32_t end;			/* one past the last entry to look at */
};

/* The part of the sweep's range that an entry maps. */
static inline uint64_t start_of(const struct table *table, uint32_t index)
{
	uint64_t start = table->base + ((uint64_t)index << table->level->shift);

	return start < table->first ? table->first : start;
}

static inline uint64_t last_of(const struct table *table, uint32_t index)
{
	uint64_t last = table->base + ((uint64_t)index << table->level->shift) +
			(pw_level_bytes(table->level) - 1);

	return last > table->last ? table->last : last;
}

/* The rights of a leaf. kind: of its entry. */
static inline uint8_t pw_frame_rights(const struct pw_paging *paging, const struct table *table,
				      uint64_t raw, uint8_t kind)
{
	return pw_rights_left(paging->form->leaf_rights, raw, table->rights) |
	       (kind == PW_LEAF ? PW_ACCESS : 0);
}

/*
 * Return the end of the run that starts at i: entries whose bits in mask grow by step. flip is
 * applied to each entry first. end: one past the last entry to look at.
 */
uint32_t pw_run_end(const void *table, uint32_t i, uint32_t end, uint64_t flip, uint64_t mask,
		    uint64_t step);
/*
 * Emit the frame at entry i, and the frames after it that have the same attributes and so need no
 * decoding. *ret: the first entry that was not emitted. Returns as pw_emit().
 */
int pw_sweep_frames(struct batch *batch, const struct table *table, uint32_t i,
		    const struct pw_entry *entry, uint32_t *ret);

#endif
