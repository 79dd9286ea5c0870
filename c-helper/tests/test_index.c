// SPDX-License-Identifier: GPL-2.0-or-later
/* The index: a lookup finds the same mappings as walking every page does. */
#include <stdlib.h>

#include "tables.h"

#define PAGES 2048			/* pages of each space that are compared: 8 MiB */
#define SPACES 4
#define FRAMES 64
#define MOST 4096

/* xorshift: the same numbers on every machine. */
static uint32_t number(uint32_t below)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % below;
}

/* PGD[0] PUD[0], four PMD entries: PTE tables, shared ones, huge leaves; few frames. */
static void fill(struct tables *tables)
{
	static const struct row rows[] = { { ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE }, { 0 } };
	static const uint64_t below[] = { T3 | TABLE, T4 | TABLE, T3 | (TABLE & ~RW), P | PSE, 0 };

	tables_init(tables, rows, MEMORY_BYTES, true);
	for (uint32_t i = 0; i < PAGES / 512; i++)
		tables_put(tables, T2, i, below[number(5)]);
	for (uint64_t table = T3; table <= T4; table += 0x1000) {
		uint64_t frame = 0, flags = P;

		for (uint32_t i = 0; i < 512; i++) {
			if (number(4) == 0) {
				frame = number(FRAMES);
				flags = number(8) ? P | (number(2) ? RW : A) : PROTNONE;
			}
			tables_put(tables, table, i,
				   flags & P ? frame << 12 | flags : INVERTED(frame << 12) | flags);
			frame = (frame + 1) % FRAMES;
		}
	}
}

/* The oracle: walk every page of every space. */
static size_t by_walking(const struct tables *spaces, uint64_t pfn, struct pw_mapping *ret)
{
	size_t count = 0;

	for (uint32_t space = 0; space < SPACES; space++) {
		for (uint64_t page = 0; page < PAGES; page++) {
			struct pw_walk walk;

			pw_walk(&four_levels, &spaces[space].memory, (uint64_t[]){ ROOT, ROOT },
				page << 12, &walk);
			if (walk.paddr == PW_NO_PADDR || walk.paddr >> 12 != pfn)
				continue;
			ret[count++] = (struct pw_mapping){
				.address = page << 12,
				.space = space,
				.level = walk.step[walk.steps - 1].level,
				.rights = walk.rights,
				.memory_type = walk.memory_type,
			};
		}
	}
	return count;
}

static void compare(const struct pw_index *index, const struct tables *spaces, uint64_t pfn)
{
	static struct pw_mapping got[MOST], wanted[MOST];
	size_t found = pw_index_lookup(index, pfn, MOST, got);
	size_t walked = by_walking(spaces, pfn, wanted);

	CHECK_SAME("mappings found", found, walked);
	for (size_t i = 0; i < found && i < walked; i++) {
		CHECK_SAME("space", got[i].space, wanted[i].space);
		CHECK_SAME("address", got[i].address, wanted[i].address);
		CHECK_SAME("level", got[i].level, wanted[i].level);
		CHECK_SAME("rights", got[i].rights, wanted[i].rights);
		CHECK_SAME("type", got[i].memory_type, wanted[i].memory_type);
	}
	CHECK_SAME("with no room", pw_index_lookup(index, pfn, 0, got), walked);
}

static void random_spaces(void)
{
	struct tables spaces[SPACES];
	struct pw_index *index = pw_index_create();
	size_t records;
	uint64_t pages;

	test_name = "random spaces";
	for (uint32_t space = 0; space < SPACES; space++) {
		fill(&spaces[space]);
		CHECK_SAME("status", pw_index_add(index, space, &four_levels, &spaces[space].memory,
						  (uint64_t[]){ ROOT, ROOT }, 0, (PAGES << 12) - 1,
						  0, NULL), PW_OK);
	}
	CHECK_SAME("status", pw_index_finish(index), PW_OK);
	for (uint64_t pfn = 0; pfn < FRAMES + 1; pfn += 1 + number(5))
		compare(index, spaces, pfn);
	compare(index, spaces, 511);
	compare(index, spaces, 512);
	pw_index_size(index, &records, &pages);
	CHECK(records <= pages, "%zu records for %" PRIu64 " pages", records, pages);
	for (uint32_t space = 0; space < SPACES; space++)
		tables_deinit(&spaces[space]);
	pw_index_destroy(index);
}

/* 10, 11: a run longer than a record holds; the last page; the upper half. */
static void long_runs(void)
{
	/* PGD[511] PUD[511]: 1 GiB at the end; PGD[256]: the first page of the upper half. */
	static const struct row rows[] = {
		{ ROOT, 511, T1 | TABLE }, { T1, 511, (UINT64_C(5) << 30) | TABLE | PSE },
		{ ROOT, 256, T2 | TABLE }, { T2, 0, T3 | TABLE }, { T3, 0, T4 | TABLE },
		{ T4, 0, (UINT64_C(5) << 30) | 0x7ff000 | P | NX }, { 0 },
	};
	struct pw_index *index = pw_index_create();
	struct pw_mapping got[4];
	struct tables tables;
	uint64_t first = UINT64_C(5) << 18;

	test_name = "long runs";
	tables_init(&tables, rows, MEMORY_BYTES, true);
	CHECK_SAME("status", pw_index_add(index, 65535, &four_levels, &tables.memory,
					  (uint64_t[]){ ROOT, ROOT }, 0, END, 0, NULL), PW_OK);
	CHECK_SAME("no such space", pw_index_add(index, 65536, &four_levels, &tables.memory,
						 (uint64_t[]){ ROOT, ROOT }, 0, END, 0, NULL),
		   PW_BAD_ARGUMENT);
	CHECK_SAME("status", pw_index_finish(index), PW_OK);
	for (uint64_t page = 0; page < 1 << 18; page += page < 66000 ? 1 : 4999) {
		size_t wanted = page == 0x7ff ? 2 : 1;

		CHECK_SAME("mappings", pw_index_lookup(index, first + page, 4, got), wanted);
		CHECK_SAME("address", got[wanted - 1].address, -BIT(30) + (page << 12));
		CHECK_SAME("space", got[wanted - 1].space, 65535);
	}
	CHECK_SAME("the last page", pw_index_lookup(index, first + (1 << 18) - 1, 4, got), 1);
	CHECK_SAME("address", got[0].address, END - 0xfff);
	pw_index_lookup(index, first + 0x7ff, 4, got);
	CHECK_SAME("upper half", got[0].address, UINT64_C(0xffff800000000000));
	CHECK_SAME("before", pw_index_lookup(index, first - 1, 4, got), 0);
	CHECK_SAME("after", pw_index_lookup(index, first + (1 << 18), 4, got), 0);
	tables_deinit(&tables);
	pw_index_destroy(index);
}

/* 12: a table shared at two levels, thousands of times, is walked once and found everywhere. */
static void shared_tables(void)
{
	static const struct row rows[] = { { T3, 5, 0x7000 | P }, { 0 } };
	struct pw_index *index = pw_index_create();
	struct pw_sweep_stats stats;
	struct tables tables;
	static struct pw_mapping got[MOST];

	test_name = "shared tables";
	tables_init(&tables, rows, MEMORY_BYTES, true);
	tables_put(&tables, ROOT, 0, T1 | TABLE);
	for (uint32_t i = 0; i < 8; i++)
		tables_put(&tables, T1, i, T2 | TABLE);		/* PUD[0..7] */
	for (uint32_t i = 0; i < 512; i++)
		tables_put(&tables, T2, i, T3 | TABLE);		/* PMD[*] */
	CHECK_SAME("status", pw_index_add(index, 0, &four_levels, &tables.memory,
					  (uint64_t[]){ ROOT, ROOT }, 0, BIT(39) - 1, 0, &stats), PW_OK);
	CHECK_SAME("tables", stats.tables, 4);
	CHECK_SAME("status", pw_index_finish(index), PW_OK);
	CHECK_SAME("mappings", pw_index_lookup(index, 7, MOST, got), 8 * 512);
	for (uint32_t i = 0; i < 8 * 512; i++)
		CHECK_SAME("address", got[i].address, ((uint64_t)i << 21) + 0x5000);
	tables_deinit(&tables);
	pw_index_destroy(index);
}

/* 12: the sweep ends inside the second place of a shared table: PMD[1] has the table of PMD[0]. */
static void clipped_share(void)
{
	static const struct row rows[] = {
		{ ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE }, { T2, 0, T3 | TABLE },
		{ T2, 1, T3 | TABLE }, { T3, 2, 0x7000 | P }, { T3, 9, 0x7000 | P }, { 0 },
	};
	struct pw_index *index = pw_index_create();
	struct pw_sweep_stats stats;
	struct pw_mapping got[4];
	struct tables tables;

	test_name = "clipped share";
	tables_init(&tables, rows, MEMORY_BYTES, true);
	CHECK_SAME("status", pw_index_add(index, 0, &four_levels, &tables.memory,
					  (uint64_t[]){ ROOT, ROOT }, 0, 0x205fff, 0, &stats), PW_OK);
	CHECK_SAME("status", pw_index_finish(index), PW_OK);
	CHECK_SAME("shared", stats.shared, 1);
	CHECK_SAME("mappings", pw_index_lookup(index, 7, 4, got), 3);
	CHECK_SAME("first", got[0].address, 0x2000);
	CHECK_SAME("second", got[1].address, 0x9000);
	CHECK_SAME("third", got[2].address, 0x202000);
	tables_deinit(&tables);
	pw_index_destroy(index);
}

/* Only wanted frames are found, whatever names them: a page, PROT_NONE, a huge leaf, shared tables. */
static void wanted(void)
{
	static const uint64_t pfns[] = { 0x7000 >> 12, 0x5000 >> 12, 0x5000 >> 12 };
	struct pw_mapping mappings[4];
	struct tables tables;

	test_name = "wanted frames";
	for (size_t count = 1; count <= 3; count += 2) {
		struct pw_index *index = pw_index_create_wanted(pfns, count);
		static const struct row some[] = {
			{ ROOT, 0, T1 | TABLE },
			{ T1, 0, T2 | TABLE },
			{ T2, 0, T3 | TABLE },
			{ T2, 1, T3 | TABLE },
			{ T2, 2, P | PSE },
			{ T3, 0, 0x5000 | P | RW | US },
			{ T3, 1, 0x6000 | P | RW | US },
			{ T3, 8, INVERTED(0x7000) | PROTNONE },
			{ 0 },
		};
		size_t records;
		uint64_t pages;

		tables_init(&tables, some, MEMORY_BYTES, true);
		CHECK_SAME("status",
			   pw_index_add(index, 3, &four_levels, &tables.memory,
					(uint64_t[]){ ROOT, ROOT }, 0, BIT(30) - 1, 0, NULL), PW_OK);
		CHECK_SAME("sorted", pw_index_finish(index), PW_OK);
		CHECK_SAME("PROT_NONE, twice, and huge", pw_index_lookup(index, 7, 4, mappings), 3);
		CHECK_SAME("the first", mappings[0].address, 0x8000);
		CHECK_SAME("its rights", mappings[0].rights & PW_ACCESS, 0);
		CHECK_SAME("the second", mappings[1].address, BIT(21) + 0x8000);
		CHECK_SAME("huge", mappings[2].address, BIT(22) + 0x7000);
		CHECK_SAME("present", pw_index_lookup(index, 5, 4, mappings), count == 1 ? 0 : 3);
		CHECK_SAME("not wanted", pw_index_lookup(index, 6, 4, mappings), 0);
		CHECK_SAME("covers", pw_index_covers(index, 6), 0);
		pw_index_size(index, &records, &pages);
		CHECK_SAME("records", records, count == 1 ? 2 : 3);
		tables_deinit(&tables);
		pw_index_destroy(index);
	}
}

void test_index(void)
{
	for (unsigned int round = 0; round < 20; round++)
		random_spaces();
	long_runs();
	shared_tables();
	clipped_share();
	test_name = "nothing";
	pw_index_destroy(NULL);
	CHECK(true, "survived");
	wanted();
}
