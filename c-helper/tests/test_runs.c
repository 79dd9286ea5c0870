// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs of frames of every length, compared with the definition of merging: single entries, joined
 * if they adjoin and are alike.
 */
#include "tables.h"

#define MOST 1024
#define PAGE UINT64_C(0x1000)
#define C_BIT BIT(47)

struct got {
	struct pw_range ranges[MOST];
	size_t count;
};

static uint64_t random_bits(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int collect(void *arg, const struct pw_range *ranges, size_t count)
{
	struct got *got = arg;

	for (size_t i = 0; i < count && got->count < MOST; i++)
		got->ranges[got->count++] = ranges[i];
	return 0;
}

/* The first frame of a run, often shortly before a carry into or beyond the C-bit. */
static uint64_t random_frame(void)
{
	static const uint64_t ends[] = { C_BIT, BIT(52), 2 * C_BIT, BIT(48) };
	uint64_t below = random_bits() % 12 * PAGE;

	if (random_bits() % 3)
		return random_bits() & ADDRESS_BITS & 0xffffff000;
	return (ends[random_bits() % 4] - below) & ADDRESS_BITS;
}

/* Fill two PTE tables with runs of pages and of inverted pages, and with single other entries. */
static void fill(struct tables *tables, unsigned int most)
{
	static const uint64_t attributes[] = { P, P | RW, P | RW | US | A, P | NX, P | D, PROTNONE };

	for (uint32_t i = 0; i < 1024;) {
		uint64_t frame = random_frame(), about = attributes[random_bits() % 6];
		uint32_t end = i + 1 + (uint32_t)(random_bits() % most);

		for (; i < end && i < 1024; i++, frame += PAGE) {
			/* In some entries of a run, accessed and dirty differ. */
			uint64_t extra = random_bits() % 8 ? 0 : A | D;
			uint64_t entry = about == PROTNONE ? INVERTED(frame & ADDRESS_BITS) | about
							   : (frame | about | extra);

			if (random_bits() % 40 == 0)
				entry = random_bits() % 2 ? 0 : SWAP(1, 7);
			tables_put(tables, i < 512 ? T3 : T4, i % 512, entry);
		}
	}
}

static bool joins(const struct pw_paging *paging, uint64_t ignore, const struct pw_range *before,
		  const struct pw_range *range)
{
	uint64_t moves = ADDRESS_BITS & ~paging->encrypt_mask & ~paging->reserved_mask;

	if (before->last + 1 != range->start || before->kind != range->kind ||
	    before->rights != range->rights || before->memory_type != range->memory_type)
		return false;
	if (!pw_names_frame(range->kind))
		return true;
	return before->paddr + (range->start - before->start) == range->paddr &&
	       !((before->entry ^ range->entry) & ~moves & ~ignore);
}

static void sweep(const struct pw_paging *paging, const struct tables *tables, uint8_t merge,
		  uint64_t first, uint64_t last, uint64_t ignore, struct got *got)
{
	struct pw_sweep_options options = {
		.first = first, .last = last, .merge = merge, .ignore = ignore,
	};

	got->count = 0;
	CHECK_SAME("status", pw_sweep(paging, &tables->memory, (uint64_t[]){ ROOT, ROOT }, &options,
				      collect, got, NULL), PW_OK);
}

static void compare(const struct pw_paging *paging, const struct tables *tables, uint64_t first,
		    uint64_t last, uint64_t ignore)
{
	static struct got singles, merged;
	size_t n = 0;

	sweep(paging, tables, PW_MERGE_NOTHING, first, last, ignore, &singles);
	sweep(paging, tables, PW_MERGE_FRAMES, first, last, ignore, &merged);
	for (size_t i = 0; i < singles.count; n++) {
		struct pw_range range = singles.ranges[i++];

		while (i < singles.count && joins(paging, ignore, &range, &singles.ranges[i]))
			range.last = singles.ranges[i++].last;
		if (n >= merged.count)
			break;
		CHECK_SAME("start", merged.ranges[n].start, range.start);
		CHECK_SAME("last", merged.ranges[n].last, range.last);
		CHECK_SAME("paddr", merged.ranges[n].paddr, range.paddr);
		CHECK_SAME("entry", merged.ranges[n].entry, range.entry);
		CHECK_SAME("table", merged.ranges[n].table, range.table);
		CHECK_SAME("kind", merged.ranges[n].kind, range.kind);
	}
	CHECK_SAME("number of ranges", merged.count, n);
}

void test_runs(void)
{
	static const struct row down[] = {
		{ ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE }, { T2, 0, T3 | TABLE },
		{ T2, 1, T4 | TABLE },	 { 0, 0, 0 },
	};

	test_name = "runs";
	for (unsigned int round = 0; round < 400; round++) {
		struct pw_paging paging = four_levels;
		uint64_t first = random_bits() % 1024 * PAGE, last = 1024 * PAGE - 1;
		struct tables tables;

		paging.encrypt_mask = round % 2 ? C_BIT : 0;
		/* Runs must also end where reserved bits begin. */
		paging.reserved_mask = round % 7 ? 0 : ADDRESS_BITS & -C_BIT & ~paging.encrypt_mask;
		tables_init(&tables, down, MEMORY_BYTES, round % 3);
		fill(&tables, 1 + round % 24);
		compare(&paging, &tables, 0, last, round % 5 ? A | D : 0);
		compare(&paging, &tables, first, first + random_bits() % (last - first + 1), A | D);
		tables_deinit(&tables);
	}
}
