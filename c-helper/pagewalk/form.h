/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form of page tables, as data: this header is the list of how to add an architecture.
 *
 * Write arch_NAME.c that ends in const structs pw_form, name them in pagewalk.h, and add tests;
 * the walker does not change. What it must be told:
 *
 *  - how addresses split: bits below the sign, page size, bits of index and shift of each level.
 *    A form may have a table a half (arm64's TTBR0 and TTBR1), and tables of any size;
 *  - what an entry is: the first rule of its level that fits;
 *  - where the physical address is in it, also if its high bits are elsewhere (arm64's 52 bits);
 *  - which bits give and take rights, and which make up the memory type's index;
 *  - how a swap entry is laid out;
 *  - the names of the bits.
 */
#ifndef PAGEWALK_FORM_H
#define PAGEWALK_FORM_H

#include "pagewalk.h"

/* Fits if (entry & mask) == value. The last rule of a level has mask 0. */
struct pw_rule {
	uint64_t mask, value;
	uint64_t reserved;	/* if one of these is set, it is PW_RESERVED_BITS instead */
	uint8_t kind;		/* PW_SWAP: the target's layout says which */
	bool inverted;		/* the address bits are stored inverted */
};

/* A set bit's name: shown if (entry & mask) == value; a field if value is 0: name and number. */
struct pw_bit {
	uint64_t mask, value;
	const char *name;	/* NULL ends the list */
	uint8_t shift;
};

/* An entry leaves a right only if (entry & mask) == value. */
struct pw_right {
	uint8_t right;		/* enum pw_rights; 0 ends the list */
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
	uint8_t half_bits;		/* bits of an address below those that must be all alike */
	uint8_t page_shift;
	uint64_t root_mask;		/* where it is in the register that holds the root */
	uint64_t address_mask;		/* where the physical address is in an entry */
	uint64_t high_mask;		/* and its bits that are elsewhere: moved left by high_shift */
	uint8_t high_shift;
	uint64_t ignorable;		/* bits that a merged range may differ in */
	const struct pw_right *table_rights, *leaf_rights;
	struct {
		uint8_t type_shift, type_bits, offset_shift, offset_bits;
		bool offset_inverted;
	} swap;
	struct pw_level level[PW_MAX_LEVELS];	/* from the top */
};

#endif
