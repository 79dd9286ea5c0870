// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * That the walker takes the form from data: arm64's, said in data here and nowhere in the engine.
 * 64 KiB granule, 48 bits of addresses, 3 levels, a top table of 64 entries, a table a half
 * (TTBR0, TTBR1), physical bits 51:48 in bits 15:12 (FEAT_LPA), other meanings for all bits.
 * Source: Arm ARM, D8.3 (VMSAv8-64 descriptor formats).
 */
#include "form.h"
#include "tables.h"

#define VALID BIT(0)
#define NOT_BLOCK BIT(1)
#define AP_USER BIT(6)
#define AP_READ_ONLY BIT(7)
#define UXN BIT(54)
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
	{ PW_WRITE, AP_TABLE_NO_WRITE, 0 }, { PW_EXECUTE, BIT(60), 0 }, { PW_USER, BIT(61), 0 }, { 0 },
};
static const struct pw_right leaf_rights[] = {
	{ PW_WRITE, AP_READ_ONLY, 0 }, { PW_EXECUTE, UXN, 0 }, { PW_USER, AP_USER, AP_USER }, { 0 },
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
	.table_rights = table_rights,
	.leaf_rights = leaf_rights,
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

void test_form(void)
{
	const struct pw_direct direct = { 0, sizeof(memory), memory };
	const struct pw_memory from = { .direct = &direct, .direct_count = 1 };
	const struct pw_paging paging = { .form = &arm64_64k, .memory_types = { [3] = PW_WC } };
	const uint64_t roots[2] = { LOW_ROOT, HIGH_ROOT };
	const uint64_t high = UINT64_C(0xffff) << 48;
	const uint64_t flags = KINDS | AP_USER | UXN | BIT(2) | BIT(3);
	struct pw_sweep_options options = { .last = END, .merge = PW_MERGE_FRAMES,
					    .skip = PW_SKIP(PW_NONE) };
	struct pw_range ranges[8], *end = ranges;
	struct pw_walk walk;

	test_name = "arm64 by data";
	put(LOW_ROOT, 1, PMDS | KINDS);			/* TTBR0: PGD[1] */
	put(HIGH_ROOT, 63, PMDS | KINDS | AP_TABLE_NO_WRITE);	/* TTBR1: PGD[63] */
	put(PMDS, 8191, PTES | KINDS);			/* PMD[8191] */
	put(PMDS, 0, (UINT64_C(3) << 29) | VALID);	/* PMD[0]: a block of 512 MiB */
	put(PTES, 8190, FRAME | 0x5000 | flags);	/* PTE[8190]: its frame has bits 50 and 48 */
	put(PTES, 8191, (FRAME + 0x10000) | 0x5000 | flags | BIT(10));

	CHECK_SAME("status", pw_walk(&paging, &from, roots, END, &walk), PW_OK);
	CHECK_SAME("outcome", walk.outcome, PW_LEAF);
	CHECK_SAME("paddr", walk.paddr, UINT64_C(5) << 48 | (FRAME + 0x1ffff));
	CHECK_SAME("rights", walk.rights, PW_USER | PW_ACCESS);
	CHECK_SAME("memory type", walk.memory_type, PW_WC);
	CHECK_SAME("leaf", walk.leaf_bytes, 0x10000);
	CHECK_SAME("steps", walk.steps, 3);

	CHECK_SAME("status", pw_walk(&paging, &from, roots, BIT(42) + 5, &walk), PW_OK);
	CHECK_SAME("a block", walk.paddr, (UINT64_C(3) << 29) + 5);
	CHECK_SAME("rights", walk.rights, PW_WRITE | PW_EXECUTE | PW_ACCESS);
	CHECK_SAME("status", pw_walk(&paging, &from, roots, BIT(48), &walk), PW_OK);
	CHECK_SAME("between the halves", walk.outcome, PW_NON_CANONICAL);

	options.ignore = BIT(10);
	CHECK_SAME("status", pw_sweep(&paging, &from, roots, &options, keep, &end, NULL), PW_OK);
	CHECK_SAME("ranges", end - ranges, 4);
	CHECK_SAME("low block", ranges[0].start, BIT(42));
	CHECK_SAME("low pages", ranges[1].start, 2 * BIT(42) - 0x20000);
	CHECK_SAME("low pages end", ranges[1].last, 2 * BIT(42) - 1);
	CHECK_SAME("low rights", ranges[1].rights, PW_WRITE | PW_USER | PW_ACCESS);
	CHECK_SAME("high block", ranges[2].start, high + 63 * BIT(42));
	CHECK_SAME("high pages", ranges[3].start, END - 0x1ffff);
	CHECK_SAME("high pages end", ranges[3].last, END);
	CHECK_SAME("high frame", ranges[3].paddr, UINT64_C(5) << 48 | FRAME);
	CHECK_SAME("high rights", ranges[3].rights, PW_USER | PW_ACCESS);
}
