/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading entries inside the sweep. A range per frame costs more than its entry if frames are in no
 * order, so what only counts or searches reads the tables themselves.
 */
#ifndef PAGEWALK_TAP_H
#define PAGEWALK_TAP_H

#include "runs.h"

/* Functions return 0, or a negative number that ends the sweep. */
struct tap {
	/*
	 * Receives entries i to end - 1: of a last-level table all that the sweep covers, of other
	 * tables runs that name frames.
	 */
	int (*entries)(void *arg, const struct table *table, uint32_t i, uint32_t end);
	/* Receives the range of an entry that points at a table, in place of options->each_table. */
	int (*table)(void *arg, const struct pw_range *range);
	void *arg;
	bool ranges;			/* last-level tables are reported to the hook as well */
};

/* pw_sweep() with a tap, or without one (NULL). */
int pw_sweep_tapped(const struct pw_paging *paging, const struct pw_memory *memory,
		    const uint64_t roots[2], const struct pw_sweep_options *options,
		    const struct tap *tap, pw_range_fn *hook, void *arg,
		    struct pw_sweep_stats *ret);

#endif
