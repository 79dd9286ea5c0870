// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Forms that the engine has no file for, as data: arm64 (64 KiB granule, 48 bits of addresses,
 * FEAT_LPA) and riscv (Sv39 with Svpbmt); and forms that pw_form_error() refuses.
 *
 * arm64 has 3 levels, a top table of 64 entries, a root for each half (TTBR0, TTBR1), physical
 * bits 51:48 in bits 15:12, UXN and PXN, and hierarchical rights in table entries. riscv stores
 * the address shifted by 2 and marks a leaf by any of R, W, X.
 * Sources: Arm ARM, D8.3 (VMSAv8-64 descriptor formats); RISC-V privileged specification, 10.4.
 */
#include "form.h"
#include "tables.h"

#define VALID BIT(0)
#define NOT_BLOCK BIT(1)
#define AP_USER BIT(6)
#define AP_READ_ONLY BIT(7)
#define PXN BIT(53)
#define UXN BIT(54)
#define PXN_TABLE BIT(59)
#define UXN_TABLE BIT(60)
#define AP_TABLE_NO_USER BIT(61)
#define AP_TABLE_NO_WRITE BIT(62)
#define KINDS (VALID | NOT_BLOCK)

static const struct pw_rule page_rules[] = {
	{ .mask = KINDS, .value = KINDS, .kind = PW_LEAF },
	{ .mask = KINDS, .value = VALID, .kind = PW_RESERVED_BITS },
	{ .mask = UINT64_MAX, .kind = PW_NONE },
	{ .kind = PW_SWAP },
};
static const struct pw_rule block_rules[] = {
	{ .mask = KINDS, .value = KINDS, .kind = PW_TABLE },
	{ .mask = KINDS, .value = VALID, .kind = PW_LEAF },
	{ .mask = UINT64_MAX, .kind = PW_NONE },
	{ .kind = PW_SPECIAL },
};
static const struct pw_bit bits[] = { { VALID, VALID, "VALID", 0 }, { 0 } };
static const struct pw_right table_rights[] = {
	{ PW_WRITE, AP_TABLE_NO_WRITE, 0 }, { PW_USER, AP_TABLE_NO_USER, 0 },
	{ PW_EXECUTE, PXN_TABLE, 0 }, { PW_USER_EXECUTE, UXN_TABLE, 0 }, { 0 },
};
static const struct pw_right leaf_rights[] = {
	{ PW_WRITE, AP_READ_ONLY, 0 }, { PW_USER, AP_USER, AP_USER },
	{ PW_EXECUTE, PXN, 0 }, { PW_USER_EXECUTE, UXN, 0 }, { 0 },
};
#define LEVEL(called, from_end, at, size, by)                                                     \
	{ .name = called, .number = from_end, .shift = at, .index_bits = size, .rules = by,       \
	  .table_bits = bits, .other_bits = bits, .type_bits = { BIT(2), BIT(3), BIT(4) } }
static const struct pw_form arm64_64k = {
	.name = "arm64, 64 KiB, 48 bits",
	.levels = 3,
	.half_bits = 48,
	.page_shift = 16,
	.root_mask = UINT64_C(0x0000ffffffffffc0),
	.address_mask = UINT64_C(0x0000ffffffff0000),
	.high_mask = 0xf000,
	.high_shift = 36,
	.ignorable = BIT(10),
	.rights = PW_WRITE | PW_EXECUTE | PW_USER | PW_USER_EXECUTE,
	.table_rights = table_rights,
	.leaf_rights = leaf_rights,
	.memory_types = 3,
	.memory_type = { "Normal", "Device-nGnRE", "Normal-NC" },
	.swap = { .type_shift = 6, .type_bits = 5, .offset_shift = 12, .offset_bits = 50 },
	.level = {
		LEVEL("PGD", 3, 42, 6, block_rules),
		LEVEL("PMD", 2, 29, 13, block_rules),
		LEVEL("PTE", 1, 16, 13, page_rules),
	},
};

#define LOW_ROOT 0x200u			/* 64 entries, not even page-aligned */
#define HIGH_ROOT 0x400u
#define PMDS 0x10000u
#define PTES 0x20000u
#define FRAME UINT64_C(0x80000)

static unsigned char memory[0x30000];

static void put(uint64_t table, uint32_t index, uint64_t entry)
{
	memcpy(memory + table + index * 8, &entry, 8);	/* this host is little-endian */
}

static int keep(void *arg, const struct pw_range *ranges, size_t count)
{
	struct pw_range **to = arg;

	for (size_t i = 0; i < count; i++)
		*(*to)++ = ranges[i];
	return 0;
}

static void accepted(const struct pw_form *form)
{
	const struct pw_level *level;
	const char *error = pw_form_error(form, &level);

	CHECK(!error, "%s is refused: %s", form->name, error ? error : "");
}

static void arm64(void)
{
	const struct pw_direct direct = { 0, sizeof(memory), memory };
	const struct pw_memory from = { .direct = &direct, .direct_count = 1 };
	const struct pw_paging paging = { .form = &arm64_64k, .memory_types = { [3] = 2 } };
	const uint64_t roots[2] = { LOW_ROOT, HIGH_ROOT };
	const uint64_t high = UINT64_C(0xffff) << 48;
	const uint64_t flags = KINDS | AP_USER | UXN | BIT(2) | BIT(3);
	struct pw_sweep_options options = { .last = END, .merge = PW_MERGE_FRAMES,
					    .skip = PW_SKIP(PW_NONE) };
	struct pw_range ranges[8], *end = ranges;
	struct pw_walk walk;

	test_name = "arm64 by data";
	accepted(&arm64_64k);
	put(LOW_ROOT, 1, PMDS | KINDS);			/* TTBR0: PGD[1] */
	/* TTBR1: PGD[63] */
	put(HIGH_ROOT, 63, PMDS | KINDS | AP_TABLE_NO_WRITE | PXN_TABLE);
	put(PMDS, 8191, PTES | KINDS);			/* PMD[8191] */
	put(PMDS, 0, (UINT64_C(3) << 29) | VALID);	/* PMD[0]: a block of 512 MiB */
	put(PTES, 8190, FRAME | 0x5000 | flags);	/* PTE[8190]: its frame has bits 50 and 48 */
	put(PTES, 8191, (FRAME + 0x10000) | 0x5000 | flags | BIT(10));

	CHECK_SAME("status", pw_walk(&paging, &from, roots, END, &walk), PW_OK);
	CHECK_SAME("outcome", walk.outcome, PW_LEAF);
	CHECK_SAME("paddr", walk.paddr, UINT64_C(5) << 48 | (FRAME + 0x1ffff));
	CHECK_SAME("rights", walk.rights, PW_USER | PW_ACCESS);
	CHECK_SAME("memory type", walk.memory_type, 2);
	CHECK_SAME("leaf", walk.leaf_bytes, 0x10000);
	CHECK_SAME("steps", walk.steps, 3);

	CHECK_SAME("status", pw_walk(&paging, &from, roots, BIT(42) + 5, &walk), PW_OK);
	CHECK_SAME("a block", walk.paddr, (UINT64_C(3) << 29) + 5);
	CHECK_SAME("rights", walk.rights, PW_WRITE | PW_EXECUTE | PW_USER_EXECUTE | PW_ACCESS);
	CHECK_SAME("status", pw_walk(&paging, &from, roots, BIT(48), &walk), PW_OK);
	CHECK_SAME("between the halves", walk.outcome, PW_NON_CANONICAL);

	options.ignore = BIT(10);
	CHECK_SAME("status", pw_sweep(&paging, &from, roots, &options, keep, &end, NULL), PW_OK);
	CHECK_SAME("ranges", end - ranges, 4);
	CHECK_SAME("low block", ranges[0].start, BIT(42));
	CHECK_SAME("low pages", ranges[1].start, 2 * BIT(42) - 0x20000);
	CHECK_SAME("low pages end", ranges[1].last, 2 * BIT(42) - 1);
	CHECK_SAME("low rights", ranges[1].rights, PW_WRITE | PW_EXECUTE | PW_USER | PW_ACCESS);
	CHECK_SAME("high block", ranges[2].start, high + 63 * BIT(42));
	CHECK_SAME("high block's rights", ranges[2].rights, PW_USER_EXECUTE | PW_ACCESS);
	CHECK_SAME("high pages", ranges[3].start, END - 0x1ffff);
	CHECK_SAME("high pages end", ranges[3].last, END);
	CHECK_SAME("high frame", ranges[3].paddr, UINT64_C(5) << 48 | FRAME);
	CHECK_SAME("high rights", ranges[3].rights, PW_USER | PW_ACCESS);
}

#define RV_W BIT(2)
#define RV_X BIT(3)
#define RV_U BIT(4)
#define RV_PBMT_NC BIT(61)
#define RV_PPN(paddr) ((uint64_t)(paddr) >> 2)
#define RV_PAGE (VALID | BIT(1) | RV_W | RV_U | BIT(6) | BIT(7))

#define RV_LEAVES                                                                                 \
	{ .mask = VALID | BIT(1), .value = VALID | BIT(1), .kind = PW_LEAF },                     \
	{ .mask = VALID | RV_X, .value = VALID | RV_X, .kind = PW_LEAF }
static const struct pw_rule rv_page_rules[] = {
	RV_LEAVES, { .mask = VALID, .value = VALID, .kind = PW_RESERVED_BITS },
	{ .mask = UINT64_MAX, .kind = PW_NONE }, { .kind = PW_SWAP },
};
static const struct pw_rule rv_table_rules[] = {
	RV_LEAVES, { .mask = VALID | RV_W, .value = VALID, .kind = PW_TABLE },
	{ .mask = VALID, .value = VALID, .kind = PW_RESERVED_BITS },
	{ .mask = UINT64_MAX, .kind = PW_NONE }, { .kind = PW_SPECIAL },
};
static const struct pw_right rv_rights[] = {
	{ PW_WRITE, RV_W, RV_W }, { PW_EXECUTE, RV_X, RV_X }, { PW_USER, RV_U, RV_U }, { 0 },
};
static const struct pw_right no_rights[] = { { 0 } };
#define RV_LEVEL(called, from_end, at, by)                                                        \
	{ .name = called, .number = from_end, .shift = at, .index_bits = 9, .rules = by,          \
	  .table_bits = bits, .other_bits = bits, .type_bits = { BIT(61), BIT(62) } }
static const struct pw_form riscv_sv39 = {
	.name = "riscv, Sv39",
	.levels = 3,
	.half_bits = 38,
	.page_shift = 12,
	.root_mask = UINT64_C(0x000ffffffffff000),
	.address_mask = UINT64_C(0x0000fffffffffc00),	/* physical bits 49:12 */
	.address_shift = 2,
	.ignorable = BIT(6) | BIT(7) | BIT(8) | BIT(9),
	.rights = PW_WRITE | PW_EXECUTE | PW_USER,
	.table_rights = no_rights,
	.leaf_rights = rv_rights,
	.memory_types = 3,
	.memory_type = { "PMA", "NC", "IO" },
	.level = {
		RV_LEVEL("PGD", 3, 30, rv_table_rules),
		RV_LEVEL("PMD", 2, 21, rv_table_rules),
		RV_LEVEL("PTE", 1, 12, rv_page_rules),
	},
};

static void riscv(void)
{
	static const struct row rows[] = {
		{ ROOT, 256, RV_PPN(T1) | VALID },	/* PGD[256]: the upper half */
		{ T1, 1, RV_PPN(T2) | VALID },		/* PMD[1] */
		{ T1, 2, RV_PPN(0x600000) | RV_PAGE | RV_PBMT_NC },	/* PMD[2]: 2 MiB */
		{ T2, 0, RV_PPN(0x7000) | RV_PAGE },
		{ T2, 1, RV_PPN(0x8000) | (RV_PAGE & ~BIT(7)) },	/* clean: may be ignored */
		{ T2, 2, RV_PPN(0x9000) | RV_PAGE },
		{ T2, 3, RV_PPN(0xd000) | RV_PAGE },	/* grows by 0x1000, but that is 4 pages */
		{ T2, 4, RV_PPN(0x3ffffffff000) | RV_PAGE },
		{ 0 },
	};
	const struct pw_paging paging = { .form = &riscv_sv39, .memory_types = { 0, 1, 2 },
					  .reserved_mask = UINT64_C(0x3c00000000000) };
	const uint64_t high = -BIT(38), roots[2] = { ROOT, ROOT };
	struct pw_sweep_options options = { .last = END, .merge = PW_MERGE_FRAMES, .ignore = END,
					    .skip = PW_SKIP(PW_NONE) };
	struct pw_range ranges[8], *end = ranges;
	struct tables tables;
	struct pw_walk walk;

	test_name = "riscv by data";
	accepted(&riscv_sv39);
	tables_init(&tables, rows, MEMORY_BYTES, true);
	CHECK_SAME("status", pw_walk(&paging, &tables.memory, roots, high + BIT(21) + 0x2123, &walk),
		   PW_OK);
	CHECK_SAME("paddr", walk.paddr, 0x9123);
	CHECK_SAME("rights", walk.rights, PW_WRITE | PW_USER | PW_ACCESS);
	CHECK_SAME("status", pw_sweep(&paging, &tables.memory, roots, &options, keep, &end, NULL),
		   PW_OK);
	CHECK_SAME("ranges", end - ranges, 4);
	CHECK_SAME("a run", ranges[0].start, high + BIT(21));
	CHECK_SAME("its end", ranges[0].last, high + BIT(21) + 0x2fff);
	CHECK_SAME("its frame", ranges[0].paddr, 0x7000);
	CHECK_SAME("another", ranges[1].paddr, 0xd000);
	CHECK_SAME("the last frame", ranges[2].paddr, UINT64_C(0x3ffffffff000));
	CHECK_SAME("a huge leaf", ranges[3].paddr, 0x600000);
	CHECK_SAME("its type", ranges[3].memory_type, 1);
	tables_put(&tables, T2, 4, RV_PPN(0x400000000000) | RV_PAGE);
	CHECK_SAME("status", pw_walk(&paging, &tables.memory, roots, high + BIT(21) + 0x4000, &walk),
		   PW_OK);
	CHECK_SAME("beyond MAXPHYADDR", walk.outcome, PW_RESERVED_BITS);
	tables_deinit(&tables);
}

/* Each broken form differs from arm64_64k in one thing. */
static void refused(void)
{
	static const struct pw_rule self[] = { { .mask = KINDS, .value = KINDS, .kind = PW_TABLE },
					       { .kind = PW_NONE } };
	static const struct pw_rule zero[] = { { .mask = KINDS, .kind = PW_LEAF }, { 0 } };
	static const struct pw_rule address[] = { { .mask = BIT(30) | VALID, .value = VALID,
						    .kind = PW_LEAF }, { .kind = PW_NONE } };
	static const struct pw_rule outcome[] = { { .kind = PW_NON_CANONICAL } };
	static const struct pw_rule outside[] = { { .mask = 1, .value = 3, .kind = PW_NONE }, { 0 } };
	static const struct pw_right access[] = { { PW_ACCESS, 1, 1 }, { 0 } };
	static const struct pw_right two[] = { { PW_WRITE | PW_USER, 1, 1 }, { 0 } };
	const struct pw_level *level;
	struct pw_form form;

#define REFUSE(change, words)                                                                     \
	do {                                                                                      \
		const char *error;                                                                \
		form = arm64_64k;                                                                 \
		test_name = #change;                                                              \
		form.change;                                                                      \
		error = pw_form_error(&form, &level);                                                   \
		CHECK(error && strstr(error, words), "%s", error ? error : "accepted");           \
	} while (0)
	REFUSE(levels = 0, "levels");
	REFUSE(levels = 6, "levels");
	REFUSE(levels = 2, "number");
	REFUSE(page_shift = 9, "page_shift");
	REFUSE(page_shift = 12, "shift");
	REFUSE(half_bits = 46, "half");
	REFUSE(half_bits = 49, "half");
	REFUSE(level[2].index_bits = 0, "index_bits");
	REFUSE(level[2].index_bits = 17, "index_bits");
	REFUSE(level[1].shift = 30, "shift");
	REFUSE(level[0].name = NULL, "name");
	REFUSE(memory_types = 0, "memory types");
	REFUSE(memory_types = 7, "memory types");
	REFUSE(memory_types = 4, "memory type needs");
	REFUSE(address_shift = 64, "below 64");
	REFUSE(high_shift = 64, "below 64");
	REFUSE(high_shift = 52, "shifted out");
	REFUSE(address_mask = 0, "adjoin");
	REFUSE(address_mask = 0x50000, "adjoin");
	REFUSE(address_mask = UINT64_C(0xff00000), "each page");
	REFUSE(address_mask = 0xffffffe0, "overlap");
	REFUSE(high_mask = 0x1f000, "overlap");
	REFUSE(root_mask = UINT64_MAX, "40 bits");
	REFUSE(ignorable = BIT(16), "ignorable");
	REFUSE(ignorable = VALID, "ignorable");
	REFUSE(ignorable = PXN, "ignorable");
	REFUSE(ignorable = BIT(2), "ignorable");
	REFUSE(rights = PW_WRITE | PW_ACCESS, "not a right");
	REFUSE(rights = PW_WRITE, "form's rights");
	REFUSE(leaf_rights = access, "form's rights");
	REFUSE(leaf_rights = two, "form's rights");
	REFUSE(swap.offset_bits = 64, "swap");
	REFUSE(swap.offset_shift = 64, "swap");
	REFUSE(level[2].rules = self, "last level");
	REFUSE(level[2].rules = zero, "set bit");
	REFUSE(level[2].rules = address, "address");
	REFUSE(level[2].rules = outcome, "kind");
	REFUSE(level[2].rules = outside, "value");
	REFUSE(level[1].type_bits[1] = BIT(40), "memory type");
	CHECK(level == &form.level[1], "another level");
	REFUSE(swap.type_bits = 9, "swap");
	CHECK(!level, "not of a level");
#undef REFUSE
}

void test_form(void)
{
	test_name = "built-in forms";
	accepted(&pw_x86_64_4_levels);
	accepted(&pw_x86_64_5_levels);
	arm64();
	riscv();
	refused();
}
