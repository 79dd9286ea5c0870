// SPDX-License-Identifier: GPL-2.0-or-later
/* Fields of structures by virtual address, and the entries of hand-made XArrays. */
#include <stdlib.h>

#include "structs.h"
#include "tables.h"

#define DIRECT UINT64_C(0xffff888000000000)
#define VMALLOC UINT64_C(0xffffc90000000000)	/* PGD 402, PUD 0, PMD 0 */
#define AT(paddr) (DIRECT + (paddr))

/* Two pages of vmalloc memory that do not adjoin, a hole, and a huge page from physical 0 on. */
static const struct row pages[] = {
	{ ROOT, 402, T1 | TABLE }, { T1, 0, T2 | TABLE }, { T2, 0, T3 | TABLE },
	{ T2, 1, P | RW | PSE }, { T3, 0, 0x9000 | P }, { T3, 1, 0x7000 | P },
	{ T3, 3, 0x8000 | PROTNONE }, { T3, 4, 0xb000 | P },
	{ 0x9000, 511, UINT64_C(0x8877665544332211) }, { 0x7000, 0, UINT64_C(0xffeeddccbbaa9988) },
	{ 0 },
};

static struct pw_kernel kernel_of(const struct tables *tables)
{
	return (struct pw_kernel){ .paging = &four_levels, .memory = &tables->memory,
				   .roots = { ROOT, ROOT }, .direct_first = DIRECT,
				   .direct_last = DIRECT + 0x9fff };
}

static const struct {
	const char *name;
	uint64_t address;
	struct pw_fields fields;
	uint64_t row[3];
	uint64_t fault, reason;		/* 0: none */
} gathers[] = {
	{ "sizes", AT(0x9ff8), { { { 0, 1 }, { 1, 2 }, { 3, 4 } }, 3 },
	  { 0x11, 0x3322, 0x77665544 } },
	{ "vmalloc", VMALLOC + 0xff8, { { { 0, 8 } }, 1 }, { UINT64_C(0x8877665544332211) } },
	{ "two pages that do not adjoin", VMALLOC + 0xff8, { { { 0, 8 }, { 6, 4 }, { 8, 8 } }, 3 },
	  { UINT64_C(0x8877665544332211), 0x99888877, UINT64_C(0xffeeddccbbaa9988) } },
	{ "a huge page", VMALLOC + BIT(21) + 0x7000, { { { 4, 4 } }, 1 }, { 0xffeeddcc } },
	{ "null", 0, { { { 0, 8 }, { 100, 8 } }, 2 } },
	{ "a hole", VMALLOC + 0x2000, { { { 8, 8 } }, 1 }, { 0 }, VMALLOC + 0x2008, PW_NONE },
	{ "a field in a hole", VMALLOC + 0x1ffc, { { { 0, 4 }, { 4, 4 } }, 2 }, { 0 },
	  VMALLOC + 0x2000, PW_NONE },
	{ "a field that ends in a hole", VMALLOC + 0x1ffc, { { { 0, 8 } }, 1 }, { 0 },
	  VMALLOC + 0x2000, PW_NONE },
	{ "a hole between fields", VMALLOC + 0x1000, { { { 0, 8 }, { 0x3000, 8 } }, 2 },
	  { UINT64_C(0xffeeddccbbaa9988), 0x1234 } },
	{ "no access", VMALLOC + 0x3000, { { { 0, 8 } }, 1 }, { 0 }, VMALLOC + 0x3000, PW_PROT_NONE },
	{ "the end of the direct map", AT(0x9ffc), { { { 0, 8 } }, 1 }, { 0 }, AT(0xa000), PW_NONE },
	{ "user memory", 0x1000, { { { 0, 8 } }, 1 }, { 0 }, 0x1000, PW_NONE },
	{ "the end of addresses", UINT64_MAX - 3, { { { 0, 8 } }, 1 }, { 0 }, UINT64_MAX - 3, PW_NONE },
	{ "in neither half", UINT64_C(0x8000000000000000), { { { 0, 8 } }, 1 }, { 0 },
	  UINT64_C(0x8000000000000000), PW_NON_CANONICAL },
};

static void check_gather(bool direct)
{
	const size_t count = sizeof(gathers) / sizeof(*gathers);

	for (size_t i = 0; i < count; i++) {
		/* Stride backwards: the second one is the first in memory. */
		const uint64_t addresses[] = { 0, 99, gathers[i].address };
		const struct pw_column column = { &addresses[2], 2, -16 };
		const unsigned int width = gathers[i].fields.count;
		struct pw_words rows = { 0 }, faults = { 0 };
		struct pw_kernel kernel;
		struct tables tables;

		test_name = gathers[i].name;
		tables_init(&tables, pages, MEMORY_BYTES, direct);
		tables_put(&tables, 0xb000, 0, 0x1234);
		kernel = kernel_of(&tables);
		CHECK_SAME("status", pw_gather(&kernel, &column, &gathers[i].fields, &rows, &faults),
			   PW_OK);
		CHECK_SAME("words", rows.count, 2 * width);
		for (unsigned int k = 0; k < width; k++) {
			CHECK_SAME("field", rows.words[k], gathers[i].row[k]);
			CHECK_SAME("field of null", rows.words[width + k], 0);
		}
		CHECK_SAME("faults", faults.count, gathers[i].reason ? PW_FAULT_WORDS : 0);
		if (faults.count) {
			CHECK_SAME("row", faults.words[0], 0);
			CHECK_SAME("fault", faults.words[1], gathers[i].fault);
			CHECK_SAME("reason", faults.words[2], gathers[i].reason);
		}
		free(rows.words);
		free(faults.words);
		tables_deinit(&tables);
	}
}

/* A page that the dump omits: some fields of a row can be read. */
static void check_omitted(void)
{
	const uint64_t addresses[] = { AT(0x6ffc), AT(0x6ff8), AT(0x7004) };
	const struct pw_fields fields = { { { 0, 4 }, { 4, 4 } }, 2 };
	const struct pw_column column = { addresses, 3, sizeof(*addresses) };
	struct pw_words rows = { 0 }, faults = { 0 };
	struct pw_kernel kernel;
	struct tables tables;

	test_name = "a page that is omitted";
	tables_init(&tables, pages, 0x7000, true);
	tables_put(&tables, 0x6000, 511, UINT64_C(0x500000004));
	kernel = kernel_of(&tables);
	CHECK_SAME("status", pw_gather(&kernel, &column, &fields, &rows, &faults), PW_OK);
	CHECK_SAME("field", rows.words[0], 5);
	CHECK_SAME("field", rows.words[1], 0);
	CHECK_SAME("field", rows.words[2], 4);
	CHECK_SAME("field", rows.words[3], 5);
	CHECK_SAME("faults", faults.count, 2 * PW_FAULT_WORDS);
	CHECK_SAME("row", faults.words[0], 0);
	CHECK_SAME("fault", faults.words[1], AT(0x7000));
	CHECK_SAME("reason", faults.words[2], PW_EXCLUDED);
	CHECK_SAME("row", faults.words[3], 2);
	CHECK_SAME("fault", faults.words[4], AT(0x7004));
	free(rows.words);
	free(faults.words);
	tables_deinit(&tables);

	test_name = "a direct map that does not begin with a page";
	kernel.direct_first++;
	CHECK_SAME("status", pw_gather(&kernel, &column, &fields, &rows, &faults), PW_BAD_ARGUMENT);
}

/* XArrays: nodes have their shift at 0 and four slots at 8. The head is at HEAD. */
#define HEAD UINT64_C(0x7000)
#define XNODE(n) (UINT64_C(0x8000) + (n) * 0x40)
#define N(n) (AT(XNODE(n)) | 2)
#define VALUE(n) ((n) << 1 | 1)
#define SIBLING(n) ((n) << 2 | 2)

static const struct pw_xa_layout layout = { .shift = 0, .slots = 8, .count = 4 };

static const struct {
	const char *name;
	uint64_t head, step;
	struct row rows[16];
	uint64_t runs[6][3];
	struct {
		unsigned int kind;
		uint64_t owner, address, value;
	} losses[5];
	uint64_t max_nodes, max_runs;
} arrays[] = {
	{ "empty", 0 },
	{ "one entry", 0x1000, 0, { { 0 } }, { { 0, 1, 0x1000 } } },
	{ "a reserved entry", 257 << 2 | 2 },
	{ "two levels", N(0), 0,
	  { { XNODE(0), 0, 2 }, { XNODE(0), 1, N(1) }, { XNODE(0), 3, N(2) }, { XNODE(1), 2, 0x1000 },
	    { XNODE(1), 4, VALUE(7) }, { XNODE(2), 1, 0x1040 }, { XNODE(2), 2, 257 << 2 | 2 } },
	  { { 1, 1, 0x1000 }, { 3, 1, VALUE(7) }, { 8, 1, 0x1040 } } },
	{ "runs that go on in the next node", N(0), 0x40,
	  { { XNODE(0), 0, 2 }, { XNODE(0), 1, N(1) }, { XNODE(0), 2, N(2) }, { XNODE(1), 3, 0x1000 },
	    { XNODE(1), 4, 0x1040 }, { XNODE(2), 1, 0x1080 }, { XNODE(2), 3, 0x10c0 } },
	  { { 2, 3, 0x1000 }, { 6, 1, 0x10c0 } } },
	{ "values do not merge", N(0), 2,
	  { { XNODE(0), 1, VALUE(1) }, { XNODE(0), 2, VALUE(2) } },
	  { { 0, 1, VALUE(1) }, { 1, 1, VALUE(2) } } },
	{ "siblings", N(0), 0,
	  { { XNODE(0), 1, 0x1000 }, { XNODE(0), 2, SIBLING(0) }, { XNODE(0), 3, 0x1080 },
	    { XNODE(0), 4, SIBLING(2) } },
	  { { 0, 2, 0x1000 }, { 2, 2, 0x1080 } } },
	{ "siblings, with a step", N(0), 0x40,
	  { { XNODE(0), 1, 0x1000 }, { XNODE(0), 2, SIBLING(0) }, { XNODE(0), 3, 0x1080 },
	    { XNODE(0), 4, SIBLING(2) } },
	  { { 0, 4, 0x1000 } } },
	{ "siblings of another slot", N(0), 0,
	  { { XNODE(0), 1, SIBLING(0) }, { XNODE(0), 2, 0x1000 }, { XNODE(0), 3, SIBLING(0) },
	    { XNODE(0), 4, SIBLING(1) } },
	  { { 1, 1, 0x1000 } } },
	{ "entries above the last level, between nodes", N(0), 0,
	  { { XNODE(0), 0, 2 }, { XNODE(0), 1, N(1) }, { XNODE(0), 2, 0x1000 },
	    { XNODE(0), 3, SIBLING(1) }, { XNODE(0), 4, N(2) }, { XNODE(1), 4, 0x2000 },
	    { XNODE(2), 1, 0x3000 } },
	  { { 3, 1, 0x2000 }, { 4, 8, 0x1000 }, { 12, 1, 0x3000 } } },
	{ "a node that is its own child", N(0), 0,
	  { { XNODE(0), 0, 2 }, { XNODE(0), 1, N(0) }, { XNODE(0), 2, N(1) }, { XNODE(1), 1, 0x1000 } },
	  { { 4, 1, 0x1000 } }, { { PW_LOSS_NODE_TWICE, 0, AT(XNODE(0)), 0 } } },
	{ "a node below the last level", N(0), 0,
	  { { XNODE(0), 1, N(1) }, { XNODE(0), 2, 0x1000 } },
	  { { 1, 1, 0x1000 } }, { { PW_LOSS_ENTRY, 0, 0, N(1) } } },
	{ "shifts that do not belong there", N(0), 0,
	  { { XNODE(0), 0, 4 }, { XNODE(0), 1, N(1) }, { XNODE(0), 2, N(2) }, { XNODE(0), 3, N(3) },
	    { XNODE(1), 0, 4 }, { XNODE(2), 0, 0 }, { XNODE(3), 0, 2 }, { XNODE(3), 1, 0x1000 } },
	  { { 32, 4, 0x1000 } },
	  { { PW_LOSS_NODE_SHIFT, 0, AT(XNODE(1)), 4 }, { PW_LOSS_NODE_SHIFT, 16, AT(XNODE(2)), 0 } } },
	{ "a root with an odd shift", N(0), 0, { { XNODE(0), 0, 3 }, { XNODE(0), 1, 0x1000 } },
	  { { 0 } }, { { PW_LOSS_NODE_SHIFT, 0, AT(XNODE(0)), 3 } } },
	{ "a root that is too high", N(0), 0, { { XNODE(0), 0, 64 }, { XNODE(0), 1, 0x1000 } },
	  { { 0 } }, { { PW_LOSS_NODE_SHIFT, 0, AT(XNODE(0)), 64 } } },
	{ "the highest root", N(0), 0x40,
	  { { XNODE(0), 0, 62 }, { XNODE(0), 1, 0x1000 }, { XNODE(0), 2, SIBLING(0) },
	    { XNODE(0), 3, SIBLING(0) }, { XNODE(0), 4, SIBLING(0) } },
	  { { 0, UINT64_MAX, 0x1000 } } },
	{ "runs of more indices than a word counts", N(0), 0x40,
	  { { XNODE(0), 0, 62 }, { XNODE(0), 1, 0x1000 }, { XNODE(0), 2, SIBLING(0) },
	    { XNODE(0), 3, 0x1000 }, { XNODE(0), 4, SIBLING(2) } },
	  { { 0, BIT(63), 0x1000 }, { BIT(63), BIT(63), 0x1000 } } },
	{ "nodes that cannot be read", N(0), 0,
	  { { XNODE(0), 0, 2 }, { XNODE(0), 1, VMALLOC | 2 }, { XNODE(0), 2, N(1) },
	    { XNODE(0), 3, 0x5002 }, { XNODE(1), 1, 0x1000 } },
	  { { 4, 1, 0x1000 } },
	  { { PW_LOSS_NODE, 0, VMALLOC, VMALLOC }, { PW_LOSS_NODE, 8, 0x5000, 0x5000 } } },
	{ "a limit of nodes", N(0), 0,
	  { { XNODE(0), 0, 2 }, { XNODE(0), 1, N(1) }, { XNODE(0), 2, N(2) }, { XNODE(0), 3, N(3) },
	    { XNODE(1), 1, 0x1000 } },
	  { { 0, 1, 0x1000 } },
	  { { PW_LOSS_NODES, 4, AT(XNODE(2)), 2 }, { PW_LOSS_NODES, 8, AT(XNODE(3)), 2 } }, 2 },
	{ "a limit of runs", N(0), 0, { { XNODE(0), 1, 0x1000 }, { XNODE(0), 3, 0x1000 } },
	  { { 0, 1, 0x1000 } }, { { PW_LOSS_VMAS, 2, 0, 1 } }, 0, 1 },
};

static void check_array(size_t i, bool direct)
{
	struct pw_losses losses = { 0 };
	struct pw_words runs = { 0 };
	struct pw_kernel kernel;
	struct tables tables;
	size_t count = 0;

	test_name = arrays[i].name;
	tables_init(&tables, arrays[i].rows, MEMORY_BYTES, direct);
	tables_put(&tables, HEAD, 0, arrays[i].head);
	kernel = kernel_of(&tables);
	CHECK_SAME("status", pw_xarray(&kernel, AT(HEAD), &layout, arrays[i].step,
				       arrays[i].max_nodes, arrays[i].max_runs, &runs, &losses), PW_OK);
	while (count < 6 && arrays[i].runs[count][1])
		count++;
	CHECK_SAME("runs", runs.count, count * PW_RUN_WORDS);
	for (size_t word = 0; word < runs.count && runs.count == count * PW_RUN_WORDS; word++)
		CHECK_SAME("run", runs.words[word], arrays[i].runs[word / 3][word % 3]);
	count = 0;
	while (count < 5 && arrays[i].losses[count].kind)
		count++;
	CHECK_SAME("losses", losses.count, count);
	for (size_t k = 0; k < count && k < PW_LOSSES_KEPT; k++) {
		CHECK_SAME("kind", losses.kept[k].kind, arrays[i].losses[k].kind);
		CHECK_SAME("owner", losses.kept[k].owner, arrays[i].losses[k].owner);
		CHECK_SAME("address", losses.kept[k].address, arrays[i].losses[k].address);
		CHECK_SAME("value", losses.kept[k].value, arrays[i].losses[k].value);
	}
	free(runs.words);
	tables_deinit(&tables);
}

static void check_heads(void)
{
	static const struct row none[] = { { 0 } };
	static const struct pw_xa_layout bad[] = {
		{ 0, 8, 0 }, { 0, 8, 1 }, { 0, 8, 3 }, { 0, 8, 128 }, { 1024, 8, 4 }, { 0, 1000, 4 },
		{ 0, UINT32_MAX, 4 }, { UINT32_MAX, 8, 4 },
	};
	struct pw_losses losses = { 0 };
	struct pw_words runs = { 0 };
	struct pw_kernel kernel;
	struct tables tables;

	test_name = "a head that cannot be read";
	tables_init(&tables, none, MEMORY_BYTES, true);
	kernel = kernel_of(&tables);
	CHECK_SAME("status", pw_xarray(&kernel, 0x123, &layout, 0, 0, 0, &runs, &losses), PW_OK);
	CHECK_SAME("losses", losses.count, 1);
	CHECK_SAME("kind", losses.kept[0].kind, PW_LOSS_ROOT);
	CHECK_SAME("value", losses.kept[0].value, 0x123);
	CHECK_SAME("reason", losses.kept[0].reason, PW_NONE);
	test_name = "layouts of XArrays that are not valid";
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_SAME("status", pw_xarray(&kernel, AT(HEAD), &bad[i], 0, 0, 0, &runs, &losses),
			   PW_BAD_ARGUMENT);
	tables_deinit(&tables);
}

void test_gather(void)
{
	check_gather(false);
	check_gather(true);
	check_omitted();
	for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++) {
		check_array(i, false);
		check_array(i, true);
	}
	check_heads();
}
