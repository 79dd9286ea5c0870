/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files that read the kernel's structures share. */
#ifndef PAGEWALK_STRUCTS_INTERNAL_H
#define PAGEWALK_STRUCTS_INTERNAL_H

#include "cache.h"
#include "internal.h"
#include "structs.h"

/* words.c */

/* Return the memory that is not used. */
void pw_words_shrink(struct pw_words *words);

static inline bool pw_words_push(struct pw_words *words, uint64_t word)
{
	if (words->count < words->room) {
		words->words[words->count++] = word;
		return true;
	}
	uint64_t *to = pw_words_add(words, 1);

	if (to)
		*to = word;
	return to;
}

static inline uint64_t pw_column_at(const struct pw_column *column, size_t i)
{
	const char *bytes = (const char *)column->first + (ptrdiff_t)i * column->stride;

	return *(const pw_unaligned *)(const void *)bytes;
}

void pw_losses_add(struct pw_losses *losses, const struct pw_loss *loss);

/* translate.c: reads by virtual address. */

#define PW_TRANSLATIONS 64

/* One look at a target: pages are read once. */
struct pw_reader {
	const struct pw_kernel *kernel;
	struct pw_cache cache;
	/* Pages outside the direct map, by the low bits of their number. */
	struct pw_translation {
		uint64_t page, paddr;
		bool valid;
	} translations[PW_TRANSLATIONS];
};

bool pw_reader_init(struct pw_reader *reader, const struct pw_kernel *kernel);
void pw_reader_deinit(struct pw_reader *reader);
/* Forget all that was read: a new look. Returns false if there is no memory. */
bool pw_reader_again(struct pw_reader *reader);

/*
 * Point *ret at length bytes at a virtual address, as pw_fetch() does. If a byte cannot be read,
 * returns the reason (enum pw_kind, never PW_LEAF or PW_TABLE), and *fault is the address of the
 * first part that cannot be read.
 */
int pw_read_virtual(struct pw_reader *reader, uint64_t address, size_t length, void *buffer,
		    const void **ret, uint64_t *fault);

/* A little-endian number of 1, 2, 4 or 8 bytes. */
static inline uint64_t pw_load_small(const void *from, uint32_t bytes)
{
	const unsigned char *byte = from;
	uint64_t value = 0;

	if (bytes == sizeof(value))
		return pw_load(from, 0);
	for (uint32_t i = 0; i < bytes; i++)
		value |= (uint64_t)byte[i] << 8 * i;
	return value;
}

/*
 * Read the whole pages of an address and of some after it at once. Returns 0 or a negative number
 * of the callback.
 */
int pw_fill_virtual(struct pw_reader *reader, uint64_t address, size_t pages);
/* Hint that memory may be read soon. */
void pw_prefetch_virtual(struct pw_reader *reader, uint64_t address);

/* gather.c: as pw_gather(); row i is at rows + i * stride. base: number of row 0 in faults. */
int pw_gather_rows(struct pw_reader *reader, const struct pw_column *addresses,
		   const struct pw_fields *fields, uint64_t *rows, size_t stride, uint64_t base,
		   struct pw_words *faults);
bool pw_fields_valid(const struct pw_fields *fields);

/* maple.c and vmalist.c: one walk over the VMAs of an address space. */

struct pw_vma_walk {
	struct pw_reader *reader;
	const struct pw_mm_layout *layout;
	uint64_t max_nodes, max_vmas;
	uint64_t *budget;		/* nodes and links that the whole call may still read */
	/* Kept from walk to walk, for their memory. */
	struct pw_seen nodes, vmas;
	struct pw_words todo;
	/* The result: addresses of VMAs. */
	struct pw_words *found;
	struct pw_losses *losses;
};

/* Whether what the layout names is in a node. */
bool pw_maple_valid(const struct pw_mm_layout *layout);
/* root: the value of ma_root. Returns 0, PW_NO_MEMORY or a negative number of the callback. */
int pw_walk_maple(struct pw_vma_walk *walk, uint64_t root);
/* first: the value of mm->mmap. */
int pw_walk_list(struct pw_vma_walk *walk, uint64_t first);

/* include/linux/xarray.h: XA_ZERO_ENTRY; xa_is_node(), for maple trees as well. */
#define PW_XA_ZERO_ENTRY (257 << 2 | 2)

static inline bool pw_xa_is_node(uint64_t entry)
{
	return (entry & 3) == 2 && entry > 4096;
}

#endif
