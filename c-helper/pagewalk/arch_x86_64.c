// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * x86_64 with 4 and 5 levels.
 *
 * Sources: Intel SDM volume 3A, chapter 4 (tables 4-15 to 4-20; 4-12 for PAT);
 * arch/x86/include/asm/pgtable_types.h, pgtable-invert.h, pgtable_64.h.
 */
#include "form.h"

#define BIT(number) (UINT64_C(1) << (number))

#define P BIT(0)
#define RW BIT(1)
#define US BIT(2)
#define PWT BIT(3)
#define PCD BIT(4)
#define A BIT(5)
#define D BIT(6)
#define PSE BIT(7)
#define PAT_4K BIT(7)
#define G BIT(8)
#define PROTNONE BIT(8)		/* the bit of GLOBAL, while PRESENT is clear */
#define PAT_LARGE BIT(12)
#define NX BIT(63)
#define PKEY (UINT64_C(0xf) << 59)

#define SOFTWARE (BIT(9) | BIT(10) | BIT(11) | UINT64_C(0x7f) << 52)

/* Bits 51:12. NX, protection keys and the software bits are not address bits. */
#define ADDRESS UINT64_C(0x000ffffffffff000)

static const struct pw_rule pte_rules[] = {
	{ .mask = P, .value = P, .kind = PW_LEAF },
	{ .mask = UINT64_MAX, .value = 0, .kind = PW_NONE },
	/* L1TF: pgtable-invert.h */
	{ .mask = PROTNONE, .value = PROTNONE, .kind = PW_PROT_NONE, .inverted = true },
	{ .kind = PW_SWAP },
};

#define LARGE_RULES(reserved_bits)                                                                \
	{                                                                                         \
		{ .mask = P | PSE, .value = P, .kind = PW_TABLE },                                \
		{ .mask = P | PSE, .value = P | PSE, .reserved = (reserved_bits), .kind = PW_LEAF }, \
		{ .mask = UINT64_MAX, .value = 0, .kind = PW_NONE },                              \
		{ .mask = PSE | PROTNONE, .value = PSE | PROTNONE, .kind = PW_PROT_NONE,          \
		  .inverted = true },                                                             \
		/* pmd_present() is true for PSE alone: pmd_mkinvalid(), the frame stays. */ \
		{ .mask = PSE, .value = PSE, .kind = PW_INVALIDATED, .inverted = true },          \
		{ .mask = PROTNONE, .value = 0, .kind = PW_SWAP },                                \
		{ .kind = PW_SPECIAL },                                                           \
	}

static const struct pw_rule pmd_rules[] = LARGE_RULES(UINT64_C(0x1fe000));
static const struct pw_rule pud_rules[] = LARGE_RULES(UINT64_C(0x3fffe000));

/* PSE is reserved where there are no leaves. */
static const struct pw_rule upper_rules[] = {
	{ .mask = P | PSE, .value = P, .kind = PW_TABLE },
	{ .mask = P, .value = P, .kind = PW_RESERVED_BITS },
	{ .mask = UINT64_MAX, .value = 0, .kind = PW_NONE },
	{ .kind = PW_SPECIAL },
};

#define NAMED(bit) { .mask = (bit), .value = (bit), .name = #bit }
#define NUMBERED(number) { .mask = BIT(number), .value = BIT(number), .name = "SW" #number }

#define LOW_BITS NAMED(P), NAMED(RW), NAMED(US), NAMED(PWT), NAMED(PCD), NAMED(A)
#define GLOBAL_BITS                                                                               \
	{ .mask = P | G, .value = P | G, .name = "G" },                                           \
	{ .mask = P | PROTNONE, .value = PROTNONE, .name = "PROTNONE" }
#define HIGH_BITS                                                                                 \
	NUMBERED(9), NUMBERED(10), NUMBERED(11), NUMBERED(52), NUMBERED(53), NUMBERED(54),        \
	NUMBERED(55), NUMBERED(56), NUMBERED(57), NUMBERED(58),                                   \
	{ .mask = PKEY, .name = "PKEY", .shift = 59 }, NAMED(NX), { 0 }

static const struct pw_bit table_bits[] = { LOW_BITS, NAMED(PSE), HIGH_BITS };
static const struct pw_bit upper_bits[] = { LOW_BITS, NAMED(D), NAMED(PSE), GLOBAL_BITS, HIGH_BITS };
static const struct pw_bit large_bits[] = {
	LOW_BITS, NAMED(D), NAMED(PSE), GLOBAL_BITS,
	{ .mask = PAT_LARGE, .value = PAT_LARGE, .name = "PAT" }, HIGH_BITS,
};
static const struct pw_bit pte_bits[] = {
	LOW_BITS, NAMED(D), { .mask = PAT_4K, .value = PAT_4K, .name = "PAT" }, GLOBAL_BITS, HIGH_BITS,
};

/* AND of RW and US, OR of NX. */
static const struct pw_right rights[] = {
	{ .right = PW_WRITE, .mask = RW, .value = RW },
	{ .right = PW_USER, .mask = US, .value = US },
	{ .right = PW_EXECUTE, .mask = NX, .value = 0 },
	{ 0 },
};

#define PTE                                                                                       \
	{ .name = "PTE", .number = 1, .shift = 12, .index_bits = 9, .rules = pte_rules,           \
	  .table_bits = table_bits, .other_bits = pte_bits, .type_bits = { PWT, PCD, PAT_4K } }
#define PMD                                                                                       \
	{ .name = "PMD", .number = 2, .shift = 21, .index_bits = 9, .rules = pmd_rules,           \
	  .table_bits = table_bits, .other_bits = large_bits, .type_bits = { PWT, PCD, PAT_LARGE } }
#define PUD                                                                                       \
	{ .name = "PUD", .number = 3, .shift = 30, .index_bits = 9, .rules = pud_rules,           \
	  .table_bits = table_bits, .other_bits = large_bits, .type_bits = { PWT, PCD, PAT_LARGE } }
#define UPPER(level_name, level_number, level_shift)                                              \
	{ .name = (level_name), .number = (level_number), .shift = (level_shift),                 \
	  .index_bits = 9, .rules = upper_rules, .table_bits = table_bits,                        \
	  .other_bits = upper_bits }

/*
 * Memory types are named by enum page_cache_mode of arch/x86/include/asm/pgtable_types.h.
 * swap: SWP_TYPE_BITS and SWP_OFFSET_FIRST_BIT of pgtable_64.h.
 */
#define COMMON                                                                                    \
	.page_shift = 12, .root_mask = ADDRESS, .address_mask = ADDRESS,                          \
	.ignorable = A | D | SOFTWARE, .rights = PW_WRITE | PW_EXECUTE | PW_USER,                 \
	.table_rights = rights, .leaf_rights = rights,                                            \
	.memory_types = 6,                                                                        \
	.memory_type = { "WB", "WC", "UC-", "UC", "WT", "WP" },                                   \
	.swap = { .type_shift = 59, .type_bits = 5, .offset_shift = 9, .offset_bits = 50,         \
		  .offset_inverted = true }

/* With 4 levels Linux folds the P4D and calls the top PGD. */
const struct pw_form pw_x86_64_4_levels = {
	.name = "x86_64-4",
	.levels = 4,
	.half_bits = 47,
	COMMON,
	.level = { UPPER("PGD", 4, 39), PUD, PMD, PTE },
};

const struct pw_form pw_x86_64_5_levels = {
	.name = "x86_64-5",
	.levels = 5,
	.half_bits = 56,
	COMMON,
	.level = { UPPER("PGD", 5, 48), UPPER("P4D", 4, 39), PUD, PMD, PTE },
};
