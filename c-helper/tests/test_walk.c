// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The walk for one address: entries in, outcome and frame out. A comment gives the path of each
 * entry.
 */
#include "tables.h"

/* PGD[254] PUD[72] PMD[418] PTE[359]; with 5 levels P4D[254] below PGD[0]. */
#define USER UINT64_C(0x7f1234567abc)
#define IN_2M (USER & 0x1fffff)
#define IN_1G (USER & 0x3fffffff)
#define NOTHING PW_NO_PADDR
#define ALL (PW_WRITE | PW_EXECUTE | PW_USER | PW_ACCESS)
#define NO_ACCESS (PW_WRITE | PW_EXECUTE | PW_USER)

/* The entries down to the PTE, with the flags of each level above it. */
#define WAY(pgd, pud, pmd, pte)                                                                   \
	{                                                                                         \
		{ ROOT, 254, T1 | (pgd) },	/* PGD[254] */                                    \
		{ T1, 72, T2 | (pud) },		/* PUD[72] */                                     \
		{ T2, 418, T3 | (pmd) },	/* PMD[418] */                                    \
		{ T3, 359, (pte) },		/* PTE[359] */                                    \
		{ T3, 0, D },			/* PTE[0]: the table is never all zeros */        \
		{ 0 },                                                                            \
	}
#define PTE_ONLY(pte) WAY(TABLE, TABLE, TABLE, pte)
#define PMD_ONLY(pmd)                                                                             \
	{                                                                                         \
		{ ROOT, 254, T1 | TABLE },	/* PGD[254] */                                    \
		{ T1, 72, T2 | TABLE },		/* PUD[72] */                                     \
		{ T2, 418, (pmd) },		/* PMD[418] */                                    \
		{ T2, 0, D },			/* PMD[0] */                                      \
		{ 0 },                                                                            \
	}
#define PUD_ONLY(pud)                                                                             \
	{                                                                                         \
		{ ROOT, 254, T1 | TABLE },	/* PGD[254] */                                    \
		{ T1, 72, (pud) },		/* PUD[72] */                                     \
		{ T1, 0, D },			/* PUD[0] */                                      \
		{ 0 },                                                                            \
	}

static const struct walk_case {
	const char *what;
	struct row rows[8];
	uint64_t address;
	enum pw_kind outcome;
	uint64_t paddr;
	uint64_t leaf_bytes;
	uint8_t rights;
	uint8_t memory_type;
	uint8_t steps;
	/* Defaults: 4 levels, root ROOT, no C-bit, layout of 6.12, nothing missing. */
	uint8_t levels;
	uint64_t root;
	uint64_t encrypt_mask;
	uint64_t reserved_mask;
	bool zero_fills;
	const struct pw_swap_layout *swap;
	uint64_t missing;
} cases[] = {
	{ "a page", PTE_ONLY(0xabcde000 | TABLE | D), USER,
	  PW_LEAF, 0xabcdeabc, 4096, ALL, WB, 4 },
	/* the same tables below one more level: PGD[0] points at the P4D, and P4D[254] at the PUD. */
	{ "5 levels", { { T4, 0, ROOT | TABLE }, { ROOT, 254, T1 | TABLE }, { T1, 72, T2 | TABLE },
			{ T2, 418, T3 | TABLE }, { T3, 359, 0xabcde000 | TABLE } }, USER,
	  PW_LEAF, 0xabcdeabc, 4096, ALL, WB, 5, .levels = 5, .root = T4 },
	/* 0x00aa7f1234567abc: PGD[170] P4D[254] PUD[72] PMD[418] PTE[359] */
	{ "5 levels, high", { { T4, 170, ROOT | TABLE }, { ROOT, 254, T1 | TABLE },
			      { T1, 72, T2 | TABLE }, { T2, 418, T3 | TABLE },
			      { T3, 359, 0xabcde000 | TABLE } }, UINT64_C(0x00aa7f1234567abc),
	  PW_LEAF, 0xabcdeabc, 4096, ALL, WB, 5, .levels = 5, .root = T4 },

	/* PRESENT clear, bit 8 set, address inverted. */
	{ "1: PROT_NONE", PTE_ONLY(INVERTED(0xabcde000) | PROTNONE | A | NX), USER,
	  PW_PROT_NONE, 0xabcdeabc, 4096, 0, WB, 4 },
	{ "1: PROT_NONE, writable", PTE_ONLY(INVERTED(0xabcde000) | PROTNONE | RW | US), USER,
	  PW_PROT_NONE, 0xabcdeabc, 4096, NO_ACCESS, WB, 4 },
	{ "1: PROT_NONE, 2 MiB", PMD_ONLY(INVERTED(0x401ff000) | PROTNONE | PSE), USER,
	  PW_PROT_NONE, 0x40000000 + IN_2M, 2 << 20, PW_EXECUTE, WB, 3 },
	{ "1: split under way", PMD_ONLY((INVERTED(0x401ff000) & ~BIT(12)) | PSE | RW | US), USER,
	  PW_INVALIDATED, 0x40000000 + IN_2M, 2 << 20, NO_ACCESS, WB, 3 },

	/* PAT is bit 7 in a PTE, bit 12 in a large leaf; the type comes from the PAT. */
	{ "2: PAT 1", PTE_ONLY(0x7000 | TABLE | PWT), USER, PW_LEAF, 0x7abc, 4096, ALL, WC, 4 },
	{ "2: PAT 2", PTE_ONLY(0x7000 | TABLE | PCD), USER, PW_LEAF, 0x7abc, 4096, ALL,
	  UC_MINUS, 4 },
	{ "2: PAT 3", PTE_ONLY(0x7000 | TABLE | PCD | PWT), USER, PW_LEAF, 0x7abc, 4096, ALL,
	  UC, 4 },
	{ "2: PAT 5, bit 7", PTE_ONLY(0x7000 | TABLE | PSE | PWT), USER, PW_LEAF, 0x7abc, 4096, ALL,
	  WP, 4 },
	{ "2: PAT 1, bit 7 is PSE", PMD_ONLY(0x40000000 | TABLE | PSE | PWT), USER,
	  PW_LEAF, 0x40000000 + IN_2M, 2 << 20, ALL, WC, 3 },
	{ "2: PAT 3 of 1 GiB", PUD_ONLY(0x40000000 | TABLE | PSE | PCD | PWT), USER,
	  PW_LEAF, 0x40000000 + IN_1G, 1 << 30, ALL, UC, 2 },
	{ "2: PAT 7, bit 12", PMD_ONLY(0x40000000 | TABLE | PSE | PAT_LARGE | PCD | PWT), USER,
	  PW_LEAF, 0x40000000 + IN_2M, 2 << 20, ALL, WT, 3 },

	/* NX, software bits and keys are never address bits; PTI sets NX in the PGD. */
	{ "3: flags above the address", WAY(TABLE | NX | BIT(58), TABLE | BIT(52), TABLE | BIT(11),
					    0x7000 | TABLE | NX | UINT64_C(0x7ff) << 52), USER,
	  PW_LEAF, 0x7abc, 4096, ALL & ~PW_EXECUTE, WB, 4 },
	{ "3: the highest frame", PTE_ONLY(ADDRESS_BITS | TABLE), USER, PW_LEAF,
	  ADDRESS_BITS | 0xabc, 4096, ALL, WB, 4 },

	/* the C-bit is removed from every address, also from an inverted one. */
	{ "4: C-bit", WAY(TABLE | BIT(47), TABLE | BIT(47), TABLE | BIT(47),
			  0xabcde000 | TABLE | BIT(47)), USER,
	  PW_LEAF, 0xabcdeabc, 4096, ALL, WB, 4, .root = ROOT | BIT(47),
	  .encrypt_mask = BIT(47) },
	{ "4: C-bit, PROT_NONE", PTE_ONLY(INVERTED(0xabcde000) | PROTNONE), USER,
	  PW_PROT_NONE, 0xabcdeabc, 4096, PW_EXECUTE, WB, 4, .encrypt_mask = BIT(47) },
	{ "4: no C-bit", WAY(TABLE | BIT(47), TABLE, TABLE, 0x7000 | TABLE), USER,
	  PW_UNREADABLE, NOTHING, 0, 0, 0, 1 },

	/* Address bits that the processor lacks: such an entry names no frame, and no table is read. */
	{ "beyond MAXPHYADDR", PTE_ONLY(BIT(40) | TABLE), USER, PW_RESERVED_BITS, NOTHING, 0, 0, 0, 4,
	  .reserved_mask = ADDRESS_BITS & -BIT(40) },
	{ "beyond MAXPHYADDR, PROT_NONE", PTE_ONLY(INVERTED(BIT(51)) | PROTNONE), USER,
	  PW_RESERVED_BITS, NOTHING, 0, 0, 0, 4, .reserved_mask = ADDRESS_BITS & -BIT(40) },
	{ "beyond MAXPHYADDR, a table", PUD_ONLY(BIT(40) | TABLE), USER,
	  PW_RESERVED_BITS, NOTHING, 0, 0, 0, 2, .reserved_mask = ADDRESS_BITS & -BIT(40) },
	{ "the last frame below MAXPHYADDR", PTE_ONLY((BIT(40) - 4096) | TABLE), USER,
	  PW_LEAF, (BIT(40) - 4096) | 0xabc, 4096, ALL, WB, 4,
	  .reserved_mask = ADDRESS_BITS & -BIT(40) },

	/* CR3 holds more than an address. */
	{ "5: CR3", PTE_ONLY(0x7000 | TABLE), USER, PW_LEAF, 0x7abc, 4096, ALL, WB, 4,
	  .root = BIT(63) | UINT64_C(3) << 61 | ROOT | 0x806 },

	/* permissions combine. */
	{ "6: RW", WAY(TABLE, TABLE, TABLE & ~RW, 0x7000 | TABLE), USER,
	  PW_LEAF, 0x7abc, 4096, ALL & ~PW_WRITE, WB, 4 },
	{ "6: US", WAY(TABLE & ~US, TABLE, TABLE, 0x7000 | TABLE), USER,
	  PW_LEAF, 0x7abc, 4096, ALL & ~PW_USER, WB, 4 },
	{ "6: NX", WAY(TABLE, TABLE | NX, TABLE, 0x7000 | TABLE), USER,
	  PW_LEAF, 0x7abc, 4096, ALL & ~PW_EXECUTE, WB, 4 },
	{ "6: all", PTE_ONLY(0x7000 | P | NX), USER, PW_LEAF, 0x7abc, 4096, PW_ACCESS, WB, 4 },

	/* the kinds of non-present entries. */
	{ "8: none", PTE_ONLY(0), USER, PW_NONE, NOTHING, 0, 0, 0, 4 },
	{ "8: swap", PTE_ONLY(SWAP(22, 0x12345)), USER, PW_SWAP, NOTHING, 0, 0, 0, 4 },
	{ "8: hwpoison", PTE_ONLY(SWAP(23, 1)), USER, PW_HWPOISON, NOTHING, 0, 0, 0, 4 },
	{ "8: migration", PTE_ONLY(SWAP(26, 1)), USER, PW_MIGRATION, NOTHING, 0, 0, 0, 4 },
	{ "8: device", PTE_ONLY(SWAP(30, 1)), USER, PW_DEVICE_PRIVATE, NOTHING, 0, 0, 0, 4 },
	{ "8: uffd", PTE_ONLY(SWAP(31, 1)), USER, PW_UFFD_WP_MARKER, NOTHING, 0, 0, 0, 4 },
	{ "8: poison", PTE_ONLY(SWAP(31, 2)), USER, PW_POISON_MARKER, NOTHING, 0, 0, 0, 4 },
	{ "8: guard", PTE_ONLY(SWAP(31, 4)), USER, PW_GUARD_MARKER, NOTHING, 0, 0, 0, 4 },
	{ "8: marker", PTE_ONLY(SWAP(31, 8)), USER, PW_OTHER_MARKER, NOTHING, 0, 0, 0, 4 },
	{ "8: 6.1", PTE_ONLY(SWAP(30, 9)), USER, PW_POISON_MARKER, NOTHING, 0, 0, 0, 4,
	  .swap = &layout_6_1 },
	{ "8: huge migration", PMD_ONLY(SWAP(25, 0x40000)), USER, PW_MIGRATION, NOTHING, 0, 0, 0, 3 },
	{ "8: rubbish above", { { ROOT, 254, T1 | RW } }, USER, PW_SPECIAL, NOTHING, 0, 0, 0, 1 },

	/* The upper half is never swapped out: set_memory_np() leaves such entries. */
	{ "8: upper half", { { ROOT, 511, T1 | TABLE }, { T1, 511, T2 | TABLE },
			     { T2, 511, T3 | TABLE }, { T3, 511, INVERTED(0x7000) | A | D | NX } },
	  END, PW_SPECIAL, NOTHING, 0, 0, 0, 4 },
	{ "8: upper half, PMD", { { ROOT, 511, T1 | TABLE }, { T1, 511, T2 | TABLE },
				  { T2, 511, INVERTED(0x40000000) | A | D | NX } },
	  END, PW_SPECIAL, NOTHING, 0, 0, 0, 3 },

	/* frame 0 and address 0 are legal. */
	{ "9: zero", { { ROOT, 0, T1 | TABLE }, { T1, 0, T2 | TABLE }, { T2, 0, T3 | TABLE },
		       { T3, 0, P } }, 0, PW_LEAF, 0, 4096, PW_EXECUTE | PW_ACCESS, WB, 4 },

	/* huge leaves, and the bits that must be zero in them. */
	{ "10: 2 MiB", PMD_ONLY(0x40000000 | TABLE | PSE | D | G), USER,
	  PW_LEAF, 0x40000000 + IN_2M, 2 << 20, ALL, WB, 3 },
	{ "10: 1 GiB", PUD_ONLY(UINT64_C(0x180000000) | TABLE | PSE), USER,
	  PW_LEAF, UINT64_C(0x180000000) + IN_1G, 1 << 30, ALL, WB, 2 },
	{ "10: bit 13 of 2 MiB", PMD_ONLY(0x40002000 | TABLE | PSE), USER,
	  PW_RESERVED_BITS, NOTHING, 0, 0, 0, 3 },
	{ "10: bit 21 of 1 GiB", PUD_ONLY(0x40200000 | TABLE | PSE), USER,
	  PW_RESERVED_BITS, NOTHING, 0, 0, 0, 2 },
	{ "10: PSE in a PGD", { { ROOT, 254, T1 | TABLE | PSE } }, USER,
	  PW_RESERVED_BITS, NOTHING, 0, 0, 0, 1 },

	/* canonical addresses depend on the levels; the last byte. */
	{ "11: above the low half", PTE_ONLY(P), BIT(47), PW_NON_CANONICAL, NOTHING, 0, 0, 0, 0 },
	{ "11: below the high half", PTE_ONLY(P), ~BIT(47), PW_NON_CANONICAL, NOTHING, 0, 0, 0, 0 },
	{ "11: 5 levels", { { ROOT, 1, 0 } }, BIT(47), PW_NONE, NOTHING, 0, 0, 0, 1, .levels = 5 },
	{ "11: 5 levels, above", { { ROOT, 1, 0 } }, BIT(56), PW_NON_CANONICAL, NOTHING, 0, 0, 0, 0,
	  .levels = 5 },
	{ "11: the last byte", { { ROOT, 511, T1 | TABLE }, { T1, 511, T2 | TABLE },
				 { T2, 511, T3 | TABLE }, { T3, 511, 0x7000 | P } }, END,
	  PW_LEAF, 0x7fff, 4096, PW_EXECUTE | PW_ACCESS, WB, 4 },

	/* a table that points at itself. */
	{ "12: itself", { { ROOT, 511, ROOT | TABLE } }, END - 7,
	  PW_LEAF, ROOT + 0xff8, 4096, ALL, WB, 4 },

	/* Memory that cannot be read. */
	{ "18: zeros made up", { { ROOT, 254, T1 | TABLE }, { T1, 72, T2 | TABLE } }, USER,
	  PW_ZERO_FILLED, NOTHING, 0, 0, 0, 2, .zero_fills = true },
	{ "18: a zero among others", PTE_ONLY(0), USER, PW_NONE, NOTHING, 0, 0, 0, 4,
	  .zero_fills = true },
	{ "18: left out", PTE_ONLY(0x7000 | P), USER, PW_EXCLUDED, NOTHING, 0, 0, 0, 2,
	  .missing = T2 },
	{ "18: beyond memory", PUD_ONLY(UINT64_C(0xdead0000) | TABLE), USER,
	  PW_UNREADABLE, NOTHING, 0, 0, 0, 2 },
};

static void walk_one(const struct walk_case *it, bool direct)
{
	struct pw_paging paging = it->levels == 5 ? five_levels : four_levels;
	uint64_t root = it->root ? it->root : ROOT;
	struct tables tables;
	struct pw_walk walk;

	paging.encrypt_mask = it->encrypt_mask;
	paging.reserved_mask = it->reserved_mask;
	paging.zero_fills = it->zero_fills;
	paging.swap = it->swap ? it->swap : paging.swap;
	test_name = it->what;
	tables_init(&tables, it->rows, it->missing ? it->missing : MEMORY_BYTES, direct);
	CHECK_SAME("status", pw_walk(&paging, &tables.memory, (uint64_t[]){ root, root },
				     it->address, &walk), PW_OK);
	CHECK(walk.outcome == it->outcome, "%s, not %s", pw_kind_name(walk.outcome),
	      pw_kind_name(it->outcome));
	CHECK_SAME("paddr", walk.paddr, it->paddr);
	CHECK_SAME("leaf_bytes", walk.leaf_bytes, it->leaf_bytes);
	CHECK_SAME("rights", walk.rights, it->rights);
	CHECK_SAME("memory_type", walk.memory_type, it->memory_type);
	CHECK_SAME("steps", walk.steps, it->steps);
	CHECK(tables.reads <= (it->zero_fills ? 10u : 5u), "%u reads", tables.reads);
	tables_deinit(&tables);
}

static void flags(uint64_t pte, const char *wanted)
{
	struct pw_step step = { .entry = pte, .level = 1, .kind = pte & P ? PW_LEAF : PW_SWAP };
	char text[100], little[4];
	int length = pw_flag_names(&four_levels, &step, sizeof(text), text);

	CHECK(!strcmp(text, wanted), "\"%s\", not \"%s\"", text, wanted);
	CHECK_SAME("length", length, strlen(wanted));
	CHECK_SAME("length", pw_flag_names(&four_levels, &step, sizeof(little), little), length);
	CHECK(!strncmp(little, wanted, 3) && !little[3], "cut to \"%s\"", little);
}

static int stop(void *arg, uint64_t paddr, void *data, size_t length)
{
	(void)arg;
	(void)paddr;
	memset(data, 0, length);
	return -42;
}

void test_walk(void)
{
	struct pw_memory stopping = { .read = stop }, empty = { 0 };
	struct pw_walk walk;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		walk_one(&cases[i], false);
		walk_one(&cases[i], true);
	}

	test_name = "flags";
	flags(0x7000 | TABLE | D | PSE | G | NX | UINT64_C(5) << 59 | BIT(9) | BIT(58),
	      "P RW US A D PAT G SW9 SW58 PKEY5 NX");
	flags(SWAP(2, 0x12345), "type 2 offset 74565");

	test_name = "callback";
	CHECK_SAME("status", pw_walk(&four_levels, &stopping, (uint64_t[]){ 0, 0 }, 0, &walk), -42);
	CHECK_SAME("status", pw_walk(&four_levels, &empty, (uint64_t[]){ 0, 0 }, 0, &walk), PW_OK);
	CHECK_SAME("outcome", walk.outcome, PW_UNREADABLE);
}
