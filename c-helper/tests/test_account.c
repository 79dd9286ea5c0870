// SPDX-License-Identifier: GPL-2.0-or-later
/* Accounts: the counts of each frame, the reported places, and the classes of records. */
#include <stdlib.h>

#include "tables.h"

#define FRAMES 64
#define SPECIAL BIT(9)

struct got {
	struct pw_range ranges[32];
	size_t count;
};

static int collect(void *arg, const struct pw_range *ranges, size_t count)
{
	struct got *got = arg;

	for (size_t i = 0; i < count && got->count < 32; i++)
		got->ranges[got->count++] = ranges[i];
	return 0;
}

/* Two adjoining frames, the second mapped again as special and uncached; huge leaf; shared table. */
static const struct row rows[] = {
	{ ROOT, 0, T1 | TABLE },
	{ T1, 0, T2 | TABLE },
	{ T2, 0, T3 | TABLE },
	{ T2, 1, T3 | TABLE },
	{ T2, 2, P | PSE },
	{ T3, 0, 0x5000 | P | RW | US },
	{ T3, 1, 0x6000 | P | RW | US },
	{ T3, 7, 0x6000 | P | US | PCD | PWT | SPECIAL },
	{ T3, 8, INVERTED(0x7000) | PROTNONE },
	{ T3, 9, 0x7f000 | P },		/* beyond the arrays */
	{ 0 },
};

static int add(const struct pw_account *account, struct got *got, uint64_t last)
{
	struct tables tables;
	int err;

	tables_init(&tables, rows, MEMORY_BYTES, true);
	err = pw_account_add(account, &four_levels, &tables.memory, (uint64_t[]){ ROOT, ROOT },
			     0, last, 0, collect, got, NULL);
	tables_deinit(&tables);
	return err;
}

static void accounts(void)
{
	uint8_t uses[FRAMES] = { 0 }, counts[FRAMES] = { 0 }, marked[FRAMES] = { 0 };
	const struct pw_account account = { FRAMES, uses, counts, marked, 10, SPECIAL };
	struct got got = { .count = 0 };

	test_name = "account";
	marked[5] = marked[6] = 1;
	CHECK_SAME("status", add(&account, &got, BIT(30) - 1), PW_OK);
	CHECK_SAME("a frame", uses[5], 1 << WB | PW_USE_NORMAL);
	CHECK_SAME("of two types", uses[6],
		   1 << WB | 1 << UC | PW_USE_NORMAL | PW_USE_SPECIAL);
	CHECK_SAME("PROT_NONE", uses[7], 1 << WB | PW_USE_NORMAL);
	CHECK_SAME("huge", uses[63], 1 << WB | PW_USE_NORMAL);
	CHECK_SAME("counted", counts[5], 1);
	CHECK_SAME("counted, less the special one", counts[6], 1);
	CHECK_SAME("not counted by a huge leaf", counts[63], 0);
	/* PUD, PMD, PTE, the PTE table again; two runs of marked frames, and in the huge leaf. */
	CHECK_SAME("reported", got.count, 7);
	CHECK_SAME("the first table", got.ranges[0].paddr, T1);
	CHECK_SAME("its entry's level", got.ranges[0].level, 4);
	CHECK_SAME("a run", got.ranges[3].last, 0x1fff);
	CHECK_SAME("its frame", got.ranges[3].paddr, 0x5000);
	CHECK_SAME("special", got.ranges[4].start, 0x7000);
	CHECK_SAME("shared table", got.ranges[5].kind, PW_TABLE);
	CHECK_SAME("in the huge leaf", got.ranges[6].start, BIT(22) + 0x5000);
}

static void bounds(void)
{
	uint8_t uses[FRAMES] = { 0 }, counts[FRAMES] = { 0 }, marked[FRAMES];
	struct pw_account account = { FRAMES, uses, counts, marked, 1, SPECIAL };
	struct got got = { .count = 0 };

	test_name = "account, bounds";
	memset(marked, 1, sizeof(marked));
	memset(counts, UINT8_MAX, sizeof(counts));
	CHECK_SAME("status", add(&account, &got, BIT(30) - 1), PW_OK);
	CHECK_SAME("one place and four tables", got.count, 5);
	CHECK_SAME("a full count", counts[5], UINT8_MAX);
	CHECK_SAME("half a page", add(&account, &got, 0x7ff), PW_BAD_ARGUMENT);
	account.marked = NULL;
	account.counts = NULL;
	got.count = 0;
	CHECK_SAME("without arrays", add(&account, &got, BIT(30) - 1), PW_OK);
	CHECK_SAME("tables only", got.count, 4);
}

/* Eight adjoining frames at a time, others one by one; the bound on work ends both exactly. */
static void runs_of_eight(void)
{
	uint8_t uses[FRAMES] = { 0 }, counts[FRAMES] = { 0 };
	const struct pw_account account = { FRAMES, uses, counts, NULL, 0, SPECIAL };
	struct row many[3 + 40 + 1] = { { ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE },
					{ T2, 0, T3 | TABLE } };
	struct pw_sweep_stats stats;
	struct got got = { .count = 0 };
	struct tables tables;

	test_name = "account, runs of eight";
	for (unsigned int i = 0; i < 40; i++)
		many[3 + i] = (struct row){ T3, i, (uint64_t)(i < 19 ? i : i ^ 1) << 12 | P };
	for (unsigned int i = 0; i < FRAMES; i++)
		counts[i] = i % 3 ? (uint8_t)(i * 37) : UINT8_MAX;
	tables_init(&tables, many, MEMORY_BYTES, true);
	CHECK_SAME("status", pw_account_add(&account, &four_levels, &tables.memory,
					    (uint64_t[]){ ROOT, ROOT }, 0, BIT(30) - 1, 3 + 30,
					    collect, &got, &stats), PW_TOO_MUCH_WORK);
	tables_deinit(&tables);
	CHECK_SAME("entries", stats.entries, 3 + 30);
	CHECK_SAME("stopped at", stats.stopped_at, 30 << 12);
	for (unsigned int i = 0; i < FRAMES; i++) {
		const unsigned int before = i % 3 ? (uint8_t)(i * 37) : UINT8_MAX;
		/* Entries 0 to 18 name their own number, 19 to 29 the neighbour's. */
		const unsigned int times = (i < 19) + (i >= 18 && i < 30 && i != 19);

		CHECK_SAME("use", uses[i], times ? 1 << WB | PW_USE_NORMAL : 0);
		CHECK_SAME("count", counts[i],
			   before + times < UINT8_MAX ? before + times : UINT8_MAX);
	}
}

static void alike(void)
{
	uint8_t uses[FRAMES] = { 0 }, marked[FRAMES] = { 0 };
	struct pw_account account = { FRAMES, uses, NULL, NULL, 0, SPECIAL, true };
	struct got got = { .count = 0 };
	unsigned int others = 0;

	test_name = "account, with ranges";
	CHECK_SAME("status", add(&account, &got, BIT(30) - 1), PW_OK);
	CHECK_SAME("counted too", uses[5], 1 << WB | PW_USE_NORMAL);
	for (size_t i = 0; i < got.count; i++)
		others += got.ranges[i].kind != PW_TABLE;
	CHECK_SAME("two pages, uncached, PROT_NONE, read-only, huge", others, 5);
	account.marked = marked;
	CHECK_SAME("not both", add(&account, &got, BIT(30) - 1), PW_BAD_ARGUMENT);
}

static void classes(void)
{
	static const struct pw_class kinds[] = { { 0xff, 7, 0, 1 }, { 1, 1, 8, 2 }, { 0, 0, 0, 4 } };
	unsigned char records[5][16] = { [0] = { 7 }, [1] = { [8] = 1 }, [2] = { 8 },
					 [3] = { [0] = 7, [8] = 1 }, [4] = { [8] = 3 } };
	uint8_t got[5];

	test_name = "classify";
	CHECK_SAME("status", pw_classify(records, 5, 16, kinds, 3, 2, got), PW_OK);
	CHECK_SAME("the first", got[0], 5);
	CHECK_SAME("what follows it", got[1], 7);
	CHECK_SAME("none", got[2], 4);
	CHECK_SAME("both", got[3], 7);
	CHECK_SAME("what follows them", got[4], 7);
	CHECK_SAME("too far", pw_classify(records, 5, 8, kinds, 3, 0, got), PW_BAD_ARGUMENT);
}

void test_account(void)
{
	accounts();
	bounds();
	runs_of_eight();
	alike();
	classes();
}
