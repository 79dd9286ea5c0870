/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engine's files share. Users of the engine need pagewalk.h only. */
#ifndef PAGEWALK_INTERNAL_H
#define PAGEWALK_INTERNAL_H

#include <endian.h>

#include "form.h"

#define PW_ENTRY_BYTES 8
/* The rights that bits of entries give or take. */
#define PW_ALL_RIGHTS (PW_WRITE | PW_EXECUTE | PW_USER | PW_USER_EXECUTE)

/* entry.c: one entry. */

struct pw_entry {
	uint8_t kind;			/* enum pw_kind */
	bool inverted;			/* the address bits are stored inverted */
	int16_t swap_type;		/* -1: not a swap entry */
	uint64_t swap_offset;
	uint64_t base;			/* physical address it points at, or PW_NO_PADDR */
};

/*
 * Decode an entry. upper: the entry is on the way to the upper half. An entry that would be swap
 * there is PW_SPECIAL, because the kernel's own memory is never swapped out.
 */
struct pw_entry pw_decode(const struct pw_paging *paging, const struct pw_level *level,
			  uint64_t raw, bool upper);
/* The rights of above that an entry leaves. */
uint8_t pw_rights_left(const struct pw_right *rights, uint64_t raw, uint8_t above);
/* The memory type of a leaf, a number of paging->memory_types. */
uint8_t pw_memory_type_of(const struct pw_paging *paging, const struct pw_level *level,
			  uint64_t raw);

/* The root's physical address, from the value of its register. */
static inline uint64_t pw_root_of(const struct pw_paging *paging, uint64_t value)
{
	return value & paging->form->root_mask & ~paging->encrypt_mask;
}

/* The physical address in an entry. */
static inline uint64_t pw_address_of(const struct pw_paging *paging, uint64_t raw)
{
	const struct pw_form *form = paging->form;

	return ((raw & form->address_mask) << form->address_shift |
		(raw & form->high_mask) << form->high_shift) & ~paging->encrypt_mask;
}

/* Bits of a physical address that are not address. They are equal in all entries of a run. */
static inline uint64_t pw_no_address(const struct pw_paging *paging)
{
	return paging->encrypt_mask | paging->reserved_mask;
}

static inline uint64_t pw_level_bytes(const struct pw_level *level)
{
	return UINT64_C(1) << level->shift;
}

/*
 * The bits of a leaf's entry that count up from one frame to the next. The high part of a split
 * address is not among them: a carry into it ends a run. In a huge leaf, address bits below its
 * size are flags.
 */
static inline uint64_t pw_frame_bits(const struct pw_paging *paging, const struct pw_level *level)
{
	const uint8_t shift = paging->form->address_shift;

	return paging->form->address_mask & -(pw_level_bytes(level) >> shift) &
	       ~(pw_no_address(paging) >> shift);
}

static inline size_t pw_table_bytes(const struct pw_level *level)
{
	return (size_t)PW_ENTRY_BYTES << level->index_bits;
}

static inline uint32_t pw_index_of(const struct pw_level *level, uint64_t address)
{
	return (uint32_t)(address >> level->shift) & ((UINT32_C(1) << level->index_bits) - 1);
}

/* 0: lower half, 1: upper half, -1: neither. */
static inline int pw_half_of(const struct pw_form *form, uint64_t address)
{
	uint64_t sign = address >> form->half_bits;

	if (sign == 0)
		return 0;
	return sign == UINT64_MAX >> form->half_bits ? 1 : -1;
}

/* memory.c: physical memory. */

/*
 * Point *ret at length bytes of physical memory: the caller's own bytes where there is a direct
 * mapping, else buffer, filled by the callback. Returns 0, a kind (PW_EXCLUDED, PW_ZERO_FILLED,
 * PW_UNREADABLE) or a negative number of the callback.
 */
int pw_fetch(const struct pw_memory *memory, uint64_t paddr, size_t length, void *buffer,
	     const void **ret);
/* Hint that a table may be read soon. Any address is allowed. */
void pw_prefetch(const struct pw_memory *memory, uint64_t paddr);
bool pw_all_zero(const void *bytes, size_t length);

/* Segments need not be aligned in a dump's file, so neither are they in memory. */
typedef uint64_t pw_unaligned __attribute__((aligned(1), may_alias));

static inline uint64_t pw_load(const void *table, size_t index)
{
	return le64toh(((const pw_unaligned *)table)[index]);
}

/* seen.c: which tables were walked, and at which address first. */

struct pw_seen {
	struct pw_seen_slot {
		uint64_t key, address;
	} *slots;
	size_t mask, used;
};

void pw_seen_init(struct pw_seen *seen);
void pw_seen_deinit(struct pw_seen *seen);
/* Empty it for the next walk. */
void pw_seen_clear(struct pw_seen *seen);
/* The key of a table. Its low PW_TABLE_ALIGN_BITS bits are free for the rest. Never 0. */
static inline uint64_t pw_seen_key(unsigned int depth, uint64_t table, uint8_t rights)
{
	return table | (uint64_t)rights << 3 | (depth + 1);
}

/* The address of the first walk of a table; NULL if it was not walked. */
const uint64_t *pw_seen_find(const struct pw_seen *seen, uint64_t key);
/* Returns false if there is no memory. The key must not be there yet. */
bool pw_seen_add(struct pw_seen *seen, uint64_t key, uint64_t address);

/* sort.c: records of the index. */

struct pw_record {
	uint64_t high, low;
};

/* Sort by high >> shift, stably. Returns false if there is no memory. */
bool pw_sort(struct pw_record *records, size_t count, unsigned int shift);

#endif
