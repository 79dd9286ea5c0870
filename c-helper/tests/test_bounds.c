// SPDX-License-Identifier: GPL-2.0-or-later
/* Bounded work on any input, and how a sweep ends early. */
#include <stdlib.h>

#include "tables.h"

struct got {
	uint64_t ranges, first, last, shared;
	int answer;
};

static int count(void *arg, const struct pw_range *ranges, size_t number)
{
	struct got *got = arg;

	for (size_t i = 0; i < number; i++) {
		CHECK(!got->ranges || ranges[i].start > got->last, "not in order");
		CHECK(ranges[i].start <= ranges[i].last, "ends before it begins");
		got->first = got->ranges ? got->first : ranges[i].start;
		got->last = ranges[i].last;
		got->ranges++;
		got->shared += ranges[i].kind == PW_TABLE;
	}
	return got->answer;
}

static int sweep(struct tables *tables, const struct pw_sweep_options *options, struct got *got,
		 struct pw_sweep_stats *stats)
{
	*got = (struct got){ .answer = got->answer };
	return pw_sweep(&four_levels, &tables->memory, (uint64_t[]){ ROOT, ROOT }, options, count,
			got, stats);
}

/* 12: every entry of a table points at that table, so each table is shared 512 times. */
static void bounded_by_sharing(void)
{
	static const struct row none[] = { { 0 } };
	struct pw_sweep_options options = { .last = END, .shared_once = true };
	struct pw_sweep_stats stats;
	struct tables tables;
	struct got got = { 0 };

	test_name = "12: 512 times itself";
	tables_init(&tables, none, MEMORY_BYTES, false);
	for (uint32_t i = 0; i < 512; i++)
		tables_put(&tables, ROOT, i, ROOT | TABLE);
	CHECK_SAME("status", sweep(&tables, &options, &got, &stats), PW_OK);
	/* The root is read for each half; each level below once. */
	CHECK_SAME("reads", tables.reads, 5);
	CHECK_SAME("entries", stats.entries, 4 * 512);
	CHECK_SAME("shared", stats.shared, 3 * 511);
	CHECK_SAME("shared ranges", got.shared, 3 * 511);
	CHECK_SAME("the end", got.last, END);

	test_name = "12: 512 times itself, all of it";
	options.shared_once = false;
	options.max_entries = 100000;
	CHECK_SAME("status", sweep(&tables, &options, &got, &stats), PW_TOO_MUCH_WORK);
	CHECK_SAME("entries", stats.entries, 100000);
	CHECK(stats.stopped_at == got.last + 1, "stopped at %#" PRIx64 " after %#" PRIx64,
	      stats.stopped_at, got.last);
	tables_deinit(&tables);

	test_name = "12: two that point at each other";
	tables_init(&tables, none, MEMORY_BYTES, false);
	for (uint32_t i = 0; i < 512; i++) {
		tables_put(&tables, ROOT, i, T1 | TABLE);
		tables_put(&tables, T1, i, ROOT | TABLE);
	}
	options = (struct pw_sweep_options){ .last = END, .shared_once = true,
					     .merge = PW_MERGE_FRAMES, .shared_by_rights = true };
	CHECK_SAME("status", sweep(&tables, &options, &got, &stats), PW_OK);
	CHECK_SAME("reads", tables.reads, 5);
	tables_deinit(&tables);
}

static void bounded_by_number(void)
{
	static const struct row rows[] = { { ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE },
					   { T2, 0, T3 | TABLE }, { T3, 3, 0x7000 | P }, { 0 } };
	struct pw_sweep_options options = { .last = END };
	struct pw_sweep_stats stats;
	struct tables tables;
	struct got got = { 0 };

	test_name = "a bound on entries";
	tables_init(&tables, rows, MEMORY_BYTES, false);
	for (uint8_t merge = 0; merge <= PW_MERGE_LIKE; merge++) {
		options.merge = merge;
		for (uint64_t most = 1; most < 600; most += 13) {
			uint64_t end = most <= 3 ? 0 : (most - 3) << 12;

			options.max_entries = most;
			CHECK_SAME("status", sweep(&tables, &options, &got, &stats),
				   PW_TOO_MUCH_WORK);
			CHECK_SAME("entries", stats.entries, most);
			if (most <= 515)
				CHECK_SAME("stopped at", stats.stopped_at, end);
			CHECK(!got.ranges || got.last + 1 == stats.stopped_at, "a hole at the end");
		}
	}
	options.max_entries = 0;
	CHECK_SAME("status", sweep(&tables, &options, &got, &stats), PW_OK);
	CHECK_SAME("entries", stats.entries, 4 * 512);
	CHECK_SAME("tables", stats.tables, 5);

	test_name = "not a range";
	options.first = 1;
	options.last = 0;
	CHECK_SAME("status", sweep(&tables, &options, &got, &stats), PW_BAD_ARGUMENT);

	test_name = "the hook stops";
	options.first = 0;
	options.last = END;
	got.answer = -7;
	CHECK_SAME("status", sweep(&tables, &options, &got, &stats), -7);
	CHECK(got.ranges <= 512, "went on for %" PRIu64 " ranges", got.ranges);
	tables_deinit(&tables);
}

/* More ranges than a batch holds are reported without loss. */
static void many_ranges(void)
{
	static const struct row rows[] = { { ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE }, { 0 } };
	struct pw_sweep_options options = { .last = BIT(30) - 1, .merge = PW_MERGE_FRAMES,
					    .max_entries = 1 << 20 };
	struct tables tables;
	struct got got = { 0 };

	test_name = "many ranges";
	tables_init(&tables, rows, MEMORY_BYTES, true);
	for (uint32_t i = 0; i < 512; i++) {
		tables_put(&tables, T2, i, T3 | TABLE);		/* PMD[i]: the same table */
		tables_put(&tables, T3, i, ((uint64_t)(i * 7 & 511) << 12) | P);
	}
	CHECK_SAME("status", sweep(&tables, &options, &got, NULL), PW_OK);
	/* 0, 7, 14, ... modulo 512: no frame follows another, within a table or across tables. */
	CHECK_SAME("ranges", got.ranges, 512 * 512);
	CHECK_SAME("last", got.last, BIT(30) - 1);
	for (uint32_t i = 0; i < 512; i++)
		tables_put(&tables, T3, i, ((uint64_t)(i / 3 * 8 + i % 3) << 12) | P);
	CHECK_SAME("status", sweep(&tables, &options, &got, NULL), PW_OK);
	CHECK_SAME("runs of three", got.ranges, 512 * 171);

	/* The last entry of a table and the first of the next merge, also across two batches. */
	for (uint32_t i = 0; i < 512; i++)
		tables_put(&tables, T3, i, ((uint64_t)(1000 - 3 * i) << 12) | P);
	tables_put(&tables, T3, 0, (UINT64_C(5001) << 12) | P);
	tables_put(&tables, T3, 511, (UINT64_C(5000) << 12) | P);
	CHECK_SAME("status", sweep(&tables, &options, &got, NULL), PW_OK);
	CHECK_SAME("runs over two tables", got.ranges, 512 * 511 + 1);
	tables_deinit(&tables);
}

void test_bounds(void)
{
	bounded_by_sharing();
	bounded_by_number();
	many_ranges();
}
