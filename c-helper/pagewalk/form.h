/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form of page tables, as data: this header lists what an architecture has to describe.
 *
 * Write arch_NAME.c that ends in const structs pw_form and name them in pagewalk.h, or build the
 * struct at run time from a caller's data (python/form.c). The walker does not change. Describe:
 *
 *  - how addresses split: page size, entries of each level's table, which bits must be equal, and
 *    whether each half of the address space has a root of its own (arm64's TTBR0 and TTBR1). The
 *    topmost table may be smaller or larger than a page;
 *  - the kinds of entries: the first rule of the level that fits decides;
 *  - where the physical address is in an entry: in place, or shifted (riscv), or with high bits
 *    elsewhere (arm64's 52 bits);
 *  - which bits of a leaf leave a right, and which bits of a table entry restrict all below it;
 *  - the names of the memory types, and the bits that make up a leaf's index of them;
 *  - the layout of a swap entry;
 *  - the names of the bits, for reports.
 *
 * Entries are 64 bits wide and little-endian. pw_form_error() checks a form.
 */
#ifndef PAGEWALK_FORM_H
#define PAGEWALK_FORM_H

#include "pagewalk.h"

/* Limits that pw_form_error() checks. */
#define PW_MAX_RULES 16			/* of a level */
#define PW_MAX_BITS 64			/* names of bits in a list */
#define PW_MAX_RIGHTS 16		/* of a list */
#define PW_MAX_INDEX_BITS 16		/* a table has at most 65536 entries, 512 KiB */
/* Next-level tables are aligned to 256 bytes at least: pw_seen_key() uses the low bits. */
#define PW_TABLE_ALIGN_BITS 8
/* The index packs PFNs into 40 bits, and page numbers of a half into 44 (index.h). */
#define PW_PFN_BITS 40
#define PW_HALF_PAGE_BITS 44
/* A leaf maps at most 2^27 pages (512 GiB of 4 KiB pages), so that its cost stays bounded. */
#define PW_LEAF_PAGE_BITS 27

/* Fits if (entry & mask) == value. The last rule of a level has mask 0. */
struct pw_rule {
	uint64_t mask, value;
	uint64_t reserved;	/* if one of these bits is set, it is PW_RESERVED_BITS instead */
	uint8_t kind;		/* enum pw_kind; PW_SWAP: the target's swap layout decides */
	bool inverted;		/* the address bits are stored inverted */
};

/* A bit's name, reported if (entry & mask) == value. With value 0 it is a field: name and number. */
struct pw_bit {
	uint64_t mask, value;
	const char *name;	/* NULL ends the list */
	uint8_t shift;		/* of a field's number */
};

/* An entry leaves a right only if (entry & mask) == value. */
struct pw_right {
	uint8_t right;		/* enum pw_rights, one bit; 0 ends the list */
	uint64_t mask, value;
};

struct pw_level {
	const char *name;
	uint8_t number;			/* 1 for the last */
	uint8_t shift;			/* log2 of the bytes that an entry spans */
	uint8_t index_bits;		/* log2 of the entries of a table */
	const struct pw_rule *rules;
	const struct pw_bit *table_bits, *other_bits;
	uint64_t type_bits[3];		/* of a leaf: bits 0, 1 and 2 of the memory type's index */
};

struct pw_form {
	const char *name;
	uint8_t levels;
	/*
	 * Bits of an address below those that must all be equal: the bits that the tables
	 * translate if each half has its own root, one less if both halves share a root.
	 */
	uint8_t half_bits;
	uint8_t page_shift;		/* log2 of the bytes of a page */
	uint64_t root_mask;		/* the root's address in the register that holds it */
	/* Physical address: (entry & address_mask) << address_shift, */
	uint64_t address_mask;
	uint8_t address_shift;
	/* and with it (entry & high_mask) << high_shift. */
	uint8_t high_shift;
	uint64_t high_mask;
	uint64_t ignorable;		/* bits that may differ inside a merged range */
	uint8_t rights;			/* enum pw_rights that the form has, less PW_ACCESS */
	/* table_rights: what an entry that points at a table leaves of the rights below it. */
	const struct pw_right *table_rights, *leaf_rights;
	uint8_t memory_types;		/* 1 to PW_MAX_MEMORY_TYPES */
	const char *memory_type[PW_MAX_MEMORY_TYPES];	/* their names */
	struct {
		uint8_t type_shift, type_bits, offset_shift, offset_bits;
		bool offset_inverted;
	} swap;
	struct pw_level level[PW_MAX_LEVELS];	/* from the top */
};

/*
 * Check a form whose lists end as described above. Returns NULL, or what is wrong; *ret is then the
 * level that is wrong, or NULL for the form as a whole. The other calls need a form that passes:
 * then no entry makes them fail, and merged ranges agree with pw_walk().
 */
const char *pw_form_error(const struct pw_form *form, const struct pw_level **ret);

#endif
