/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engine's files share; nothing here is for users. */
#ifndef PAGEWALK_INTERNAL_H
#define PAGEWALK_INTERNAL_H

#include <endian.h>

#include "form.h"

#define PW_ENTRY_BYTES 8

/* entry.c: one entry. */

struct pw_entry {
	uint8_t kind;
	bool inverted;
	int16_t swap_type;		/* -1: no swap entry */
	uint64_t swap_offset;
	uint64_t base;			/* PW_NO_PADDR: points nowhere */
};

/*
 * upper: the entry is on the way to the upper half. What swap would be is PW_SPECIAL there: the
 * kernel's own memory is never swapped out.
 */
struct pw_entry pw_decode(const struct pw_paging *paging, const struct pw_level *level,
			  uint64_t raw, bool upper);
uint8_t pw_rights_left(const struct pw_right *rights, uint64_t raw, uint8_t above);
uint8_t pw_memory_type_of(const struct pw_paging *paging, const struct pw_level *level,
			  uint64_t raw);

#define PW_ALL_RIGHTS (PW_WRITE | PW_EXECUTE | PW_USER)

/* The root's physical address in what its register holds. */
static inline uint64_t pw_root_of(const struct pw_paging *paging, uint64_t value)
{
	return value & paging->form->root_mask & ~paging->encrypt_mask;
}

/* The physical address in an entry, without anything else. */
static inline uint64_t pw_address_of(const struct pw_paging *paging, uint64_t raw)
{
	const struct pw_form *form = paging->form;

	return ((raw & form->address_mask) | (raw & form->high_mask) << form->high_shift) &
	       ~paging->encrypt_mask;
}

/* Bits in an address's place that are no address: they are the same in all entries of a run. */
static inline uint64_t pw_no_address(const struct pw_paging *paging)
{
	return paging->encrypt_mask | paging->reserved_mask;
}

static inline uint64_t pw_level_bytes(const struct pw_level *level)
{
	return UINT64_C(1) << level->shift;
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
 * Point *ret at length bytes of physical memory: the caller's own where there is a direct mapping,
 * else buffer, which is filled. Returns 0, a kind (PW_EXCLUDED ...) or a negative number.
 */
int pw_fetch(const struct pw_memory *memory, uint64_t paddr, size_t length, void *buffer,
	     const void **ret);
/* Tell the processor that a table may be fetched soon; any address will do. */
void pw_prefetch(const struct pw_memory *memory, uint64_t paddr);
bool pw_all_zero(const void *bytes, size_t length);

/* A dump's segments need not be aligned in its file, nor so in memory. */
typedef uint64_t pw_unaligned __attribute__((aligned(1), may_alias));

static inline uint64_t pw_load(const void *table, size_t index)
{
	return le64toh(((const pw_unaligned *)table)[index]);
}

/* seen.c: which tables were walked, and where. */

struct pw_seen {
	struct pw_seen_slot {
		uint64_t key, address;
	} *slots;
	size_t mask, used;
};

void pw_seen_init(struct pw_seen *seen);
void pw_seen_deinit(struct pw_seen *seen);
/* What a table is known by: tables are aligned to 64 bytes at least. Never 0. */
static inline uint64_t pw_seen_key(unsigned int depth, uint64_t table, uint8_t rights)
{
	return table | (uint64_t)rights << 3 | (depth + 1);
}

/* The address of the first walk of a table; NULL if there was none. */
const uint64_t *pw_seen_find(const struct pw_seen *seen, uint64_t key);
/* False if there is no memory. The key must not be there yet. */
bool pw_seen_add(struct pw_seen *seen, uint64_t key, uint64_t address);

/* sort.c: records of the index. */

struct pw_record {
	uint64_t high, low;
};

/* Sort by high >> shift, stably. False if there is no memory. */
bool pw_sort(struct pw_record *records, size_t count, unsigned int shift);

#endif
