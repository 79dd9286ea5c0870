// SPDX-License-Identifier: GPL-2.0-or-later
/* The sweep: entries in, ranges out. A comment gives the path of each entry. */
#include "tables.h"

#define PAGE UINT64_C(0x1000)
#define BIG UINT64_C(0x200000)
#define MOST 16
#define ALL (PW_WRITE | PW_EXECUTE | PW_USER | PW_ACCESS)
#define NOTHING PW_NO_PADDR
#define SKIP_NONE .skip = PW_SKIP(PW_NONE)

/* The entries down to the first 2 MiB. */
#define DOWN { ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE }, { T2, 0, T3 | TABLE }

static const struct sweep_case {
	const char *what;
	struct row rows[12];
	struct pw_sweep_options options;
	struct wanted {
		uint64_t start, last;
		enum pw_kind kind;
		uint64_t paddr;
		uint8_t level, rights;
		uint64_t shared_with;
	} ranges[MOST];
	size_t count;
	uint64_t missing;
	uint64_t encrypt_mask;
	bool zero_fills;
} cases[] = {
	{ "every entry", { DOWN,
			   { T3, 0, 0x7000 | TABLE },		/* PTE[0] */
			   { T3, 1, 0x8000 | P },		/* PTE[1] */
			   { T3, 3, SWAP(25, 1) } },		/* PTE[3] */
	  { .last = 4 * PAGE - 1 },
	  { { 0, PAGE - 1, PW_LEAF, 0x7000, 1, ALL },
	    { PAGE, 2 * PAGE - 1, PW_LEAF, 0x8000, 1, PW_EXECUTE | PW_ACCESS },
	    { 2 * PAGE, 3 * PAGE - 1, PW_NONE, NOTHING, 1 },
	    { 3 * PAGE, 4 * PAGE - 1, PW_MIGRATION, NOTHING, 1 } }, 4 },

	/* 9: frame 0 at address 0, and the frame after it. */
	{ "9: frame 0 merges", { DOWN, { T3, 0, P }, { T3, 1, PAGE | P } },
	  { .last = BIG - 1, .merge = PW_MERGE_FRAMES, SKIP_NONE },
	  { { 0, 2 * PAGE - 1, PW_LEAF, 0, 1, PW_EXECUTE | PW_ACCESS } }, 1 },

	{ "merging: frames, flags, rights", { DOWN,
		{ T3, 0, 0x7000 | TABLE }, { T3, 1, 0x8000 | TABLE },	/* PTE[0], [1]: a run */
		{ T3, 2, 0xa000 | TABLE },				/* PTE[2]: not the next frame */
		{ T3, 3, 0xb000 | TABLE | NX },				/* PTE[3]: other rights */
		{ T3, 4, 0xc000 | TABLE | NX | D },			/* PTE[4]: another flag */
		{ T3, 5, 0xd000 | TABLE | NX | D | PWT } },		/* PTE[5]: another type */
	  { .last = 6 * PAGE - 1, .merge = PW_MERGE_FRAMES },
	  { { 0, 2 * PAGE - 1, PW_LEAF, 0x7000, 1, ALL },
	    { 2 * PAGE, 3 * PAGE - 1, PW_LEAF, 0xa000, 1, ALL },
	    { 3 * PAGE, 4 * PAGE - 1, PW_LEAF, 0xb000, 1, ALL & ~PW_EXECUTE },
	    { 4 * PAGE, 5 * PAGE - 1, PW_LEAF, 0xc000, 1, ALL & ~PW_EXECUTE },
	    { 5 * PAGE, 6 * PAGE - 1, PW_LEAF, 0xd000, 1, ALL & ~PW_EXECUTE } }, 5 },

	{ "merging: bits to ignore", { DOWN, { T3, 0, 0x7000 | P | A }, { T3, 1, 0x8000 | P | D },
				       { T3, 2, 0x9000 | P | RW } },
	  /* RW is not ignorable, so it counts although the options ignore it. */
	  { .last = 3 * PAGE - 1, .merge = PW_MERGE_FRAMES, .ignore = A | D | RW },
	  { { 0, 2 * PAGE - 1, PW_LEAF, 0x7000, 1, PW_EXECUTE | PW_ACCESS },
	    { 2 * PAGE, 3 * PAGE - 1, PW_LEAF, 0x9000, 1, PW_EXECUTE | PW_WRITE | PW_ACCESS } }, 2 },

	{ "merging: alike, wherever", { DOWN, { T3, 0, 0x9000 | P }, { T3, 1, 0x7000 | P },
					{ T3, 2, 0x8000 | P } },
	  { .last = 3 * PAGE - 1, .merge = PW_MERGE_LIKE },
	  { { 0, 3 * PAGE - 1, PW_LEAF, 0x9000, 1, PW_EXECUTE | PW_ACCESS } }, 1 },

	/* PTE[511] of one table and PTE[0] of the next. */
	{ "merging: across tables", { DOWN, { T2, 1, T4 | TABLE }, { T3, 511, 0x7000 | TABLE },
				      { T4, 0, 0x8000 | TABLE } },
	  { .first = BIG - PAGE, .last = BIG + PAGE - 1, .merge = PW_MERGE_FRAMES },
	  { { BIG - PAGE, BIG + PAGE - 1, PW_LEAF, 0x7000, 1, ALL } }, 1 },

	/* 6: the same entries under a PMD entry without RW are something else. */
	{ "6: not across other rights", { DOWN, { T2, 1, T4 | (TABLE & ~RW) },
					  { T3, 511, 0x7000 | TABLE }, { T4, 0, 0x8000 | TABLE } },
	  { .first = BIG - PAGE, .last = BIG + PAGE - 1, .merge = PW_MERGE_FRAMES },
	  { { BIG - PAGE, BIG - 1, PW_LEAF, 0x7000, 1, ALL },
	    { BIG, BIG + PAGE - 1, PW_LEAF, 0x8000, 1, ALL & ~PW_WRITE } }, 2 },

	/* 1: inverted frames count down in the entries. */
	{ "1: a PROT_NONE run", { DOWN, { T3, 0, INVERTED(0x7000) | PROTNONE },
				  { T3, 1, INVERTED(0x8000) | PROTNONE },
				  { T3, 2, INVERTED(0x7000) | PROTNONE } },
	  { .last = 3 * PAGE - 1, .merge = PW_MERGE_FRAMES },
	  { { 0, 2 * PAGE - 1, PW_PROT_NONE, 0x7000, 1, PW_EXECUTE },
	    { 2 * PAGE, 3 * PAGE - 1, PW_PROT_NONE, 0x7000, 1, PW_EXECUTE } }, 2 },

	/* 2: in a large leaf bit 12 is a flag, not a part of the frame's address. */
	{ "2: large leaves with and without PAT", { DOWN, { T2, 1, 0x40000000 | TABLE | PSE },
		{ T2, 2, 0x40200000 | TABLE | PSE }, { T2, 3, 0x40400000 | TABLE | PSE | PAT_LARGE } },
	  { .first = BIG, .last = 4 * BIG - 1, .merge = PW_MERGE_FRAMES },
	  { { BIG, 3 * BIG - 1, PW_LEAF, 0x40000000, 2, ALL },
	    { 3 * BIG, 4 * BIG - 1, PW_LEAF, 0x40400000, 2, ALL } }, 2 },

	/* 3: the highest frame plus one is not frame 0 with a software bit. */
	{ "3: no carry into flags", { DOWN, { T3, 0, ADDRESS_BITS | P }, { T3, 1, BIT(52) | P } },
	  { .last = 2 * PAGE - 1, .merge = PW_MERGE_FRAMES },
	  { { 0, PAGE - 1, PW_LEAF, ADDRESS_BITS, 1, PW_EXECUTE | PW_ACCESS },
	    { PAGE, 2 * PAGE - 1, PW_LEAF, 0, 1, PW_EXECUTE | PW_ACCESS } }, 2 },
	/* 4: a frame just below the C-bit does not continue with the C-bit set. */
	{ "4: no carry into the C-bit", { DOWN, { T3, 0, (BIT(47) - PAGE) | P }, { T3, 1, BIT(47) | P } },
	  { .last = 2 * PAGE - 1, .merge = PW_MERGE_FRAMES },
	  { { 0, PAGE - 1, PW_LEAF, BIT(47) - PAGE, 1, PW_EXECUTE | PW_ACCESS },
	    { PAGE, 2 * PAGE - 1, PW_LEAF, 0, 1, PW_EXECUTE | PW_ACCESS } }, 2,
	  .encrypt_mask = BIT(47) },

	/* 8: swap entries of the same kind merge. */
	{ "8: kinds", { DOWN, { T3, 0, SWAP(1, 5) }, { T3, 1, SWAP(2, 9) }, { T3, 2, SWAP(31, 4) } },
	  { .last = 4 * PAGE - 1, .merge = PW_MERGE_FRAMES },
	  { { 0, 2 * PAGE - 1, PW_SWAP, NOTHING, 1 }, { 2 * PAGE, 3 * PAGE - 1, PW_GUARD_MARKER, NOTHING, 1 },
	    { 3 * PAGE, 4 * PAGE - 1, PW_NONE, NOTHING, 1 } }, 3 },

	/* 10: a sweep from small pages into a huge leaf, ending inside it. */
	{ "10: clipped", { DOWN, { T3, 511, 0x7000 | P }, { T2, 1, 0x40000000 | TABLE | PSE } },
	  { .first = BIG - 0x123, .last = BIG + 0x5fff, .merge = PW_MERGE_FRAMES },
	  { { BIG - 0x123, BIG - 1, PW_LEAF, 0x7000 + PAGE - 0x123, 1, PW_EXECUTE | PW_ACCESS },
	    { BIG, BIG + 0x5fff, PW_LEAF, 0x40000000, 2, ALL } }, 2 },
	{ "10: inside a huge leaf", { DOWN, { T2, 1, 0x40000000 | TABLE | PSE } },
	  { .first = BIG + 0x5123, .last = BIG + 0x6fff },
	  { { BIG + 0x5123, BIG + 0x6fff, PW_LEAF, 0x40005123, 2, ALL } }, 1 },

	/* 11: the whole address space, with the hole between the halves, and no wrap at the end. */
	{ "11: everything", { DOWN, { T3, 0, 0x7000 | P }, { ROOT, 511, T4 | TABLE } },
	  { .last = END, .merge = PW_MERGE_FRAMES, .shared_once = true },
	  { { 0, PAGE - 1, PW_LEAF, 0x7000, 1, PW_EXECUTE | PW_ACCESS },
	    { PAGE, BIG - 1, PW_NONE, NOTHING, 1 },
	    { BIG, BIT(30) - 1, PW_NONE, NOTHING, 2 },
	    { BIT(30), BIT(39) - 1, PW_NONE, NOTHING, 3 },
	    { BIT(39), BIT(47) - 1, PW_NONE, NOTHING, 4 },
	    { UINT64_C(0xffff800000000000), ~(BIT(39) - 1) - 1, PW_NONE, NOTHING, 4 },
	    { ~(BIT(39) - 1), END, PW_NONE, NOTHING, 3 } }, 7 },
	{ "11: only the hole", { DOWN }, { .first = BIT(47), .last = ~BIT(47) }, { { 0 } }, 0 },

	/* 12: PMD[2] leads to the table of PMD[0]. */
	{ "12: shared", { DOWN, { T3, 0, 0x7000 | TABLE }, { T2, 2, T3 | (TABLE & ~RW) } },
	  { .last = 3 * BIG - 1, .merge = PW_MERGE_FRAMES, .shared_once = true, SKIP_NONE },
	  { { 0, PAGE - 1, PW_LEAF, 0x7000, 1, ALL },
	    { 2 * BIG, 3 * BIG - 1, PW_TABLE, NOTHING, 2, ALL & ~PW_WRITE, 0 } }, 2 },
	{ "12: shared, and walked again", { DOWN, { T3, 0, 0x7000 | TABLE }, { T2, 2, T3 | TABLE } },
	  { .last = 3 * BIG - 1, .merge = PW_MERGE_FRAMES, SKIP_NONE },
	  { { 0, PAGE - 1, PW_LEAF, 0x7000, 1, ALL },
	    { 2 * BIG, 2 * BIG + PAGE - 1, PW_LEAF, 0x7000, 1, ALL } }, 2 },
	{ "12: shared with other rights", { DOWN, { T3, 0, 0x7000 | TABLE }, { T2, 2, T3 | (TABLE & ~RW) } },
	  { .last = 3 * BIG - 1, .shared_once = true, .shared_by_rights = true, SKIP_NONE },
	  { { 0, PAGE - 1, PW_LEAF, 0x7000, 1, ALL },
	    { 2 * BIG, 2 * BIG + PAGE - 1, PW_LEAF, 0x7000, 1, ALL & ~PW_WRITE } }, 2 },
	/* A table that was walked in part cannot represent a later one. */
	{ "12: walked in part", { DOWN, { T3, 0, 0x7000 | P }, { T2, 1, T3 | TABLE } },
	  { .first = 4 * PAGE, .last = BIG + PAGE - 1, .shared_once = true, SKIP_NONE },
	  { { BIG, BIG + PAGE - 1, PW_LEAF, 0x7000, 1, PW_EXECUTE | PW_ACCESS } }, 1 },

	/* A table that cannot be read is one range, and the sweep goes on. */
	{ "18: a hole", { DOWN, { T3, 0, 0x7000 | P }, { T2, 1, 0x40000000 | TABLE | PSE } },
	  { .last = BIG + PAGE - 1, .merge = PW_MERGE_FRAMES },
	  { { 0, BIG - 1, PW_EXCLUDED, NOTHING, 1 }, { BIG, BIG + PAGE - 1, PW_LEAF, 0x40000000, 2, ALL } },
	  2, .missing = T3 },
	{ "18: beyond memory", { DOWN, { T2, 1, UINT64_C(0xdead0000) | TABLE } },
	  { .first = BIG, .last = 3 * BIG - 1 },
	  { { BIG, 2 * BIG - 1, PW_UNREADABLE, NOTHING, 1 }, { 2 * BIG, 3 * BIG - 1, PW_NONE, NOTHING, 2 } }, 2 },
	{ "18: zeros made up", { DOWN, { T2, 1, P | PSE } }, { .last = 2 * BIG - 1 },
	  { { 0, BIG - 1, PW_ZERO_FILLED, NOTHING, 1 },
	    { BIG, 2 * BIG - 1, PW_LEAF, 0, 2, PW_EXECUTE | PW_ACCESS } }, 2, .zero_fills = true },
	/* Each half reports the missing root; the hole between the halves is not reported. */
	{ "18: no root", { DOWN }, { .last = END },
	  { { 0, BIT(47) - 1, PW_EXCLUDED, NOTHING, 4 }, { ~(BIT(47) - 1), END, PW_EXCLUDED, NOTHING, 4 } },
	  2, .missing = ROOT },
};

struct got {
	struct pw_range ranges[MOST];
	size_t count;
};

static int collect(void *arg, const struct pw_range *ranges, size_t count)
{
	struct got *got = arg;

	for (size_t i = 0; i < count; i++, got->count++) {
		if (got->count < MOST)
			got->ranges[got->count] = ranges[i];
	}
	return 0;
}

static void sweep_one(const struct sweep_case *it, bool direct)
{
	struct pw_paging paging = four_levels;
	struct got got = { .count = 0 };
	struct tables tables;

	paging.encrypt_mask = it->encrypt_mask;
	paging.zero_fills = it->zero_fills;
	test_name = it->what;
	tables_init(&tables, it->rows, it->missing ? it->missing : MEMORY_BYTES, direct);
	CHECK_SAME("status", pw_sweep(&paging, &tables.memory, (uint64_t[]){ ROOT, ROOT },
				      &it->options, collect, &got, NULL), PW_OK);
	CHECK_SAME("number of ranges", got.count, it->count);
	for (size_t i = 0; i < got.count && i < it->count; i++) {
		const struct pw_range *range = &got.ranges[i];
		const struct wanted *wanted = &it->ranges[i];

		CHECK_SAME("start", range->start, wanted->start);
		CHECK_SAME("last", range->last, wanted->last);
		CHECK(range->kind == wanted->kind, "%s, not %s", pw_kind_name(range->kind),
		      pw_kind_name(wanted->kind));
		CHECK_SAME("paddr", range->paddr, wanted->paddr);
		CHECK_SAME("level", range->level, wanted->level);
		CHECK_SAME("rights", range->rights, wanted->rights);
		CHECK_SAME("shared_with", range->shared_with, wanted->shared_with);
	}
	tables_deinit(&tables);
}

void test_sweep(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		sweep_one(&cases[i], false);
		sweep_one(&cases[i], true);
	}
}
