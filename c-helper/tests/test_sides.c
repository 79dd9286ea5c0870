// SPDX-License-Identifier: GPL-2.0-or-later
/* Sides: spans in, runs out; and random tables compared with one walk for each page. */
#include "sides_oracle.h"
#include "tables.h"

#define PAGE UINT64_C(0x1000)
#define BIG UINT64_C(0x200000)
#define MOST 4096
#define NOTHING PW_NO_PADDR
#define DOWN { ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE }, { T2, 0, T3 | TABLE }

static const struct sides_case {
	const char *what;
	struct row rows[12];
	struct pw_span spans[4];
	size_t count;
	struct pw_side expected[4];
	size_t expected_count;
	struct pw_side wanted[8];
	size_t wanted_count;
	uint64_t missing;
} cases[] = {
	{ "frames that adjoin, and others", { DOWN,
		{ T3, 0, 0x7000 | TABLE }, { T3, 1, 0x8000 | P | NX },	/* adjoin, other rights */
		{ T3, 3, 0xa000 | TABLE },				/* PTE[2] is empty */
		{ T3, 4, INVERTED(0xb000) | PROTNONE },			/* adjoins, other kind */
		{ T3, 5, SWAP(1, 5) }, { T3, 6, SWAP(1, 9) } },
	  { { 100, 8, 0 } }, 1, { { 0 } }, 0,
	  { { 100, 2, 0x7000, 0, PW_LEAF }, { 103, 1, 0xa000, 0, PW_LEAF },
	    { 104, 1, 0xb000, 0, PW_PROT_NONE }, { 105, 2, NOTHING, 0, PW_SWAP } }, 4 },

	{ "expected frames merge wherever they are", { DOWN,
		{ T3, 0, 0x9000 | TABLE }, { T3, 1, 0x7000 | TABLE },
		{ T3, 2, 0xd000 | TABLE }, { T3, 3, 0xe000 | TABLE } },
	  { { 0, 4, 0 } }, 1,
	  { { 0, 1, 0x9000, 0, PW_LEAF }, { 1, 1, 0x7000, 0, PW_LEAF },
	    { 2, 2, 0xd000, 0, PW_PROT_NONE } }, 3,
	  { { 0, 4, NOTHING, 0, PW_LEAF, true } }, 1 },

	{ "an expected run that is not mapped so", { DOWN,
		{ T3, 0, 0x7000 | TABLE }, { T3, 1, 0x8000 | TABLE }, { T3, 2, 0x9000 | TABLE } },
	  { { 0, 3, 0 } }, 1,
	  { { 0, 1, 0x7000, 0, PW_LEAF }, { 1, 1, 0x9000, 0, PW_LEAF },
	    { 2, 1, 0x9000, 0, PW_INVALIDATED } }, 3,
	  { { 0, 1, NOTHING, 0, PW_LEAF, true }, { 1, 2, 0x8000, 0, PW_LEAF } }, 2 },

	{ "a part of a huge page, and the region ends in it", { DOWN,
		{ T2, 1, 0x40000000 | TABLE | PSE } },
	  { { 8, 4, BIG + 3 * PAGE } }, 1, { { 7, 3, 0x40002000, 0, PW_LEAF } }, 1,
	  { { 8, 2, NOTHING, 0, PW_LEAF, true }, { 10, 2, 0x40005000, 0, PW_LEAF } }, 2 },

	/* Each span has its own runs, also where one goes on in the next. */
	{ "spans that adjoin and overlap", { DOWN, { T3, 0, 0x7000 | P }, { T3, 1, 0x8000 | P } },
	  { { 0, 1, 0 }, { 1, 1, PAGE }, { 0, 2, 0 }, { 5, 0, PAGE } }, 4, { { 0 } }, 0,
	  { { 0, 1, 0x7000, 0, PW_LEAF }, { 1, 1, 0x8000, 1, PW_LEAF },
	    { 0, 2, 0x7000, 2, PW_LEAF } }, 3 },

	{ "an address inside a page", { DOWN, { T3, 0, 0x7000 | P }, { T3, 1, 0x8000 | P } },
	  { { 0, 3, 0x123 } }, 1, { { 0, 2, 0x7000, 0, PW_LEAF } }, 1,
	  { { 0, 2, 0x7123, 0, PW_LEAF } }, 1 },

	/* The last entry of a table that points at tables: there is none after it to fetch. */
	{ "an address inside the last page of a table", { DOWN, { T2, 511, T4 | TABLE },
		{ T4, 511, 0x7000 | P } },
	  { { 0, 2, 512 * BIG - 0x123 } }, 1, { { 0 } }, 0, { { 0, 1, 0x7edd, 0, PW_LEAF } }, 1 },

	{ "over the hole between the halves", { DOWN, { ROOT, 255, T4 | TABLE },
		{ ROOT, 256, 0x200000 | P | US } },		/* a table beyond memory */
	  { { 0, (BIT(47) - BIT(24)) / PAGE, BIT(47) - PAGE },
	    { 0, 2, ~(BIT(47) - 1) - PAGE } }, 2, { { 0 } }, 0,
	  { { 1, 1, NOTHING, 1, PW_UNREADABLE } }, 1 },

	{ "tables that are missing", { DOWN, { T2, 1, T4 | TABLE }, { T4, 0, 0x7000 | P } },
	  { { 0, 514, 0 } }, 1, { { 3, 9, 0x7000, 0, PW_LEAF } }, 1,
	  { { 0, 512, NOTHING, 0, PW_EXCLUDED }, { 512, 1, 0x7000, 0, PW_LEAF } }, 2, T3 },
};

struct got {
	struct pw_side sides[MOST];
	size_t count;
};

static int collect(void *arg, const struct pw_side *sides, size_t count)
{
	struct got *got = arg;

	for (size_t i = 0; i < count; i++, got->count++) {
		if (got->count < MOST)
			got->sides[got->count] = sides[i];
	}
	return 0;
}

static int run(const struct sides_oracle *o, uint64_t max_entries, struct got *got, uint64_t *stopped_at)
{
	got->count = 0;
	return pw_sides(o->paging, o->memory, o->roots, o->spans, o->count, o->expected,
			o->expected_count, max_entries, collect, got, stopped_at);
}

static void check_side(const struct pw_side *got, const struct pw_side *wanted)
{
	CHECK_SAME("index", got->index, wanted->index);
	CHECK_SAME("pages", got->pages, wanted->pages);
	CHECK_SAME("paddr", got->paddr, wanted->same ? NOTHING : wanted->paddr);
	CHECK_SAME("span", got->span, wanted->span);
	CHECK(got->kind == wanted->kind, "%s, not %s", pw_kind_name(got->kind),
	      pw_kind_name(wanted->kind));
	CHECK_SAME("same", got->same, wanted->same);
}

static void one_case(const struct sides_case *it, bool direct)
{
	static struct got got;
	struct tables tables;
	const struct sides_oracle o = {
		.paging = &four_levels, .memory = &tables.memory,
		.roots = (const uint64_t[]){ ROOT, ROOT }, .spans = it->spans, .count = it->count,
		.expected = it->expected, .expected_count = it->expected_count,
	};
	uint64_t stopped_at;

	test_name = it->what;
	tables_init(&tables, it->rows, it->missing ? it->missing : MEMORY_BYTES, direct);
	CHECK_SAME("status", run(&o, 0, &got, &stopped_at), PW_OK);
	CHECK_SAME("number of runs", got.count, it->wanted_count);
	for (size_t i = 0; i < got.count && i < it->wanted_count; i++)
		check_side(&got.sides[i], &it->wanted[i]);
	tables_deinit(&tables);
}

static uint64_t random_bits(void)
{
	static uint64_t state = 0x2545f4914f6cdd1d;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Two tables of PTEs with runs of all kinds; frames are few, so that the expected ones come up. */
static void fill(struct tables *tables)
{
	static const uint64_t attributes[] = { P, P | RW, P | NX | A, P | D, PROTNONE, P | PCD };

	for (uint32_t i = 0; i < 1024;) {
		uint64_t frame = (random_bits() % 3 ? 0x100000 : BIT(47) - 8 * PAGE) +
				 random_bits() % 64 * PAGE;
		uint64_t about = attributes[random_bits() % 6];
		uint32_t end = i + 1 + (uint32_t)(random_bits() % 20);

		for (; i < end && i < 1024; i++, frame += PAGE) {
			uint64_t entry = about == PROTNONE ? INVERTED(frame) | about : (frame | about);

			if (random_bits() % 16 == 0)
				entry = random_bits() % 2 ? 0 : SWAP(random_bits() % 32, 7);
			tables_put(tables, i < 512 ? T3 : T4, i % 512, entry);
		}
	}
}

static void random_spans(struct pw_span *spans, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		spans[i] = (struct pw_span){
			.index = random_bits() % 200,
			.pages = random_bits() % 600,
			.address = random_bits() % (4 * BIG / PAGE) * PAGE +
				   (random_bits() % 8 ? 0 : random_bits() % PAGE),
		};
	}
}

/* What is expected: the result for one span, in which some runs are moved. */
static size_t random_expected(const struct sides_oracle *o, struct pw_side *expected)
{
	static struct got got;
	struct sides_oracle first = *o;
	uint64_t stopped_at;

	first.count = 1;
	first.expected_count = 0;
	run(&first, 0, &got, &stopped_at);
	for (size_t i = 0; i < got.count && i < MOST; i++) {
		expected[i] = got.sides[i];
		if (random_bits() % 8 == 0 && expected[i].paddr != NOTHING)
			expected[i].paddr += PAGE;
		if (random_bits() % 8 == 0)
			expected[i].pages -= expected[i].pages > 1;
	}
	return got.count;
}

static void compare(const struct sides_oracle *o)
{
	static struct got got, bounded;
	struct pw_side wanted;
	uint64_t stopped_at, most = 1 + random_bits() % 1000;
	size_t at;
	int status;

	CHECK_SAME("status", run(o, 0, &got, &stopped_at), PW_OK);
	CHECK(got.count <= MOST, "too many runs for the test");
	at = oracle_differs(o, got.sides, got.count, &wanted);
	CHECK_SAME("number of runs that are right", at, got.count);
	if (at < got.count)
		check_side(&got.sides[at], &wanted);
	/* What comes before the bound is the same; only the last run may be shorter. */
	status = run(o, most, &bounded, &stopped_at);
	CHECK(status == PW_OK || status == PW_TOO_MUCH_WORK, "status %d", status);
	CHECK(bounded.count <= got.count, "more runs with a bound");
	for (size_t i = 0; i < bounded.count && i < got.count; i++) {
		if (i + 1 == bounded.count && bounded.sides[i].pages < got.sides[i].pages)
			bounded.sides[i].pages = got.sides[i].pages;
		check_side(&bounded.sides[i], &got.sides[i]);
	}
}

static void random_tables(void)
{
	static const struct row down[] = {
		DOWN, { T2, 1, T4 | TABLE }, { T2, 2, T3 | TABLE }, { T2, 3, 0x100000 | P | PSE }, { 0 },
	};

	test_name = "sides of random tables";
	for (unsigned int round = 0; round < 200; round++) {
		static struct pw_side expected[MOST];
		struct pw_paging paging = four_levels;
		struct pw_span spans[5];
		struct tables tables;
		struct sides_oracle o = {
			.paging = &paging, .memory = &tables.memory,
			.roots = (const uint64_t[]){ ROOT, ROOT }, .spans = spans, .count = 5,
		};

		paging.encrypt_mask = round % 2 ? BIT(47) : 0;
		paging.reserved_mask = round % 3 ? 0 : ADDRESS_BITS & -BIT(47) & ~paging.encrypt_mask;
		tables_init(&tables, down, MEMORY_BYTES, round % 4);
		fill(&tables);
		random_spans(spans, 5);
		compare(&o);
		o.expected_count = random_expected(&o, expected);
		o.expected = expected;
		compare(&o);
		tables_deinit(&tables);
	}
}

static int fails(void *arg, const struct pw_side *sides, size_t count)
{
	(void)arg;
	(void)sides;
	(void)count;
	return -7;
}

static void bounds(void)
{
	static const struct row rows[] = { DOWN, { T3, 0, 0x7000 | P }, { 0 } };
	struct tables tables;
	struct pw_span spans[] = { { 0, 1, 0 }, { 0, UINT64_MAX / PAGE, 0 } };
	struct sides_oracle o = {
		.paging = &four_levels, .memory = &tables.memory,
		.roots = (const uint64_t[]){ ROOT, ROOT }, .spans = spans, .count = 2,
	};
	static struct got got;
	uint64_t stopped_at = 0;

	test_name = "bounds of sides";
	tables_init(&tables, rows, MEMORY_BYTES, false);
	/* 4 on the way down, then all that is empty: 511 entries and more at each level. */
	CHECK_SAME("status", run(&o, 100, &got, &stopped_at), PW_TOO_MUCH_WORK);
	CHECK_SAME("runs", got.count, 2);
	CHECK_SAME("stopped at", stopped_at, (100 - 4) * PAGE);
	CHECK_SAME("reads", tables.reads, 4);
	CHECK_SAME("status", run(&o, 0, &got, &stopped_at), PW_OK);
	spans[1].address = PAGE;
	CHECK_SAME("status", run(&o, 0, &got, &stopped_at), PW_OK);
	spans[1].address = 2 * PAGE;
	CHECK_SAME("beyond 2^64", run(&o, 0, &got, &stopped_at), PW_BAD_ARGUMENT);
	spans[1] = (struct pw_span){ UINT64_MAX - 1, 2, 0 };
	CHECK_SAME("index beyond 2^64", run(&o, 0, &got, &stopped_at), PW_BAD_ARGUMENT);
	spans[1] = (struct pw_span){ UINT64_MAX - 1, 1, END };
	CHECK_SAME("the last byte", run(&o, 0, &got, &stopped_at), PW_OK);
	CHECK(pw_sides(o.paging, o.memory, o.roots, spans, 1, NULL, 0, 0, fails, NULL,
		       &stopped_at) == -7, "not the hook's number");
	tables_deinit(&tables);
}

void test_sides(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		one_case(&cases[i], false);
		one_case(&cases[i], true);
	}
	random_tables();
	bounds();
}
