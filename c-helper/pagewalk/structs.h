/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's structures in bulk: fields of many structures, the VMAs of many address spaces, the
 * entries of an XArray.
 *
 * Layouts are data, from the target's debug info: an offset of a member is in bytes from the start
 * of its structure. Nothing that is read makes a call fail. Memory that cannot be read is a fault,
 * and a tree or list that is not whole has losses. Every walk is bounded and remembers where it has
 * been. The target is little-endian and its pointers have 64 bits.
 *
 * Calls return PW_OK, PW_BAD_ARGUMENT (a layout that is not valid), PW_NO_MEMORY, or the negative
 * number of a callback. Results are arrays of 64-bit words, row after row; the caller frees them.
 */
#ifndef PAGEWALK_STRUCTS_H
#define PAGEWALK_STRUCTS_H

#include "pagewalk.h"

/* How the kernel's virtual addresses lead to physical memory. */
struct pw_kernel {
	const struct pw_paging *paging;
	const struct pw_memory *memory;
	uint64_t roots[2];		/* of the kernel's page tables, as for pw_walk() */
	/* The direct map: physical memory from direct_paddr on; empty if first is after last. */
	uint64_t direct_first, direct_last, direct_paddr;
};

/* A growing array. Initialise with zeros, free words. */
struct pw_words {
	uint64_t *words;
	size_t count, room;
};

/* Room for count more words, which are then part of the array. NULL if there is no memory. */
uint64_t *pw_words_add(struct pw_words *words, size_t count);

/* Numbers that are read: in memory, stride bytes apart (which may be negative). */
struct pw_column {
	const void *first;
	size_t count;
	ptrdiff_t stride;
};

#define PW_MAX_FIELDS 16

/* A member of a structure: 1, 2, 4 or 8 bytes, zero-extended. */
struct pw_field {
	uint32_t offset;
	uint32_t bytes;
};

struct pw_fields {
	struct pw_field field[PW_MAX_FIELDS];
	unsigned int count;		/* 1 to PW_MAX_FIELDS */
};

/* Whether virtual and physical addresses have the same offset in their pages. Calls check it. */
bool pw_kernel_valid(const struct pw_kernel *kernel);

/* Words of a fault: row, address of the first byte that cannot be read, enum pw_kind. */
#define PW_FAULT_WORDS 3

/*
 * Read fields of structures. rows: one word per field, in order of addresses; a field that cannot
 * be read is 0. Address 0 gives a row of zeros. faults: at most one per row, in order.
 */
int pw_gather(const struct pw_kernel *kernel, const struct pw_column *addresses,
	      const struct pw_fields *fields, struct pw_words *rows, struct pw_words *faults);

/* What a walk skipped. The .pyi explains address and value of each. */
enum pw_loss_kind {
	PW_LOSS_MM = 1,
	PW_LOSS_ROOT,
	PW_LOSS_NODE,
	PW_LOSS_LINK,
	PW_LOSS_NODE_TWICE,
	PW_LOSS_NODES,
	PW_LOSS_NODE_TYPE,
	PW_LOSS_NODE_SHIFT,
	PW_LOSS_ENTRY,
	PW_LOSS_INDEX,
	PW_LOSS_VMA_TWICE,
	PW_LOSS_CIRCLE,
	PW_LOSS_VMAS,
	PW_LOSS_CHANGING,
	PW_LOSS_MAP_COUNT,
};

/* Losses of one walk that are kept. Further ones are only counted. */
#define PW_LOSSES_KEPT 3

struct pw_loss {
	uint64_t owner, kind, address, value, reason;
};
#define PW_LOSS_WORDS 5

struct pw_losses {
	struct pw_loss kept[PW_LOSSES_KEPT];
	uint64_t count;
};

/* include/linux/maple_tree.h: a node type with pivots. It has one slot more than pivots. */
struct pw_maple_node {
	uint32_t pivot, pivots, slot, end;	/* end: offset of meta.end */
};

struct pw_mm_layout {
	uint32_t pgd, map_count;	/* in struct mm_struct */
	uint32_t first;			/* the word that leads to the VMAs: mm_mt.ma_root or mmap */
	bool list;			/* before 6.1 */
	uint32_t next;			/* list: vm_next in struct vm_area_struct */
	struct pw_maple_node range, arange;	/* else: maple_range_64, maple_arange_64 */
	struct pw_fields fields;	/* of struct vm_area_struct */
};

struct pw_vma_limits {
	bool still;			/* the target cannot change: walk once */
	uint64_t nodes;			/* of a tree; 0: PW_MAX_MAPLE_NODES */
	uint64_t vmas;			/* of a list; 0: PW_MAX_VMAS */
	uint64_t records;		/* of the result; 0: PW_MAX_RECORDS */
};

/* vm.max_map_count is 65530 by default. */
#define PW_MAX_MAPLE_NODES (UINT64_C(1) << 17)
#define PW_MAX_VMAS (UINT64_C(1) << 20)
#define PW_MAX_RECORDS (UINT64_C(1) << 23)
#define PW_MOST_RECORDS (UINT64_C(1) << 32)	/* a larger limit is this one */

/*
 * Words of an mm: address, pgd, map_count before and after, number of its first VMA, number of its
 * VMAs, number of losses, number of walks. Words of a VMA, before its fields: number of its mm,
 * address.
 */
#define PW_MM_WORDS 8
#define PW_VMA_WORDS 2

/* Zero it before the call, and deinit it after the call, also if that failed. */
struct pw_vma_result {
	struct pw_words mms, vmas, faults, losses;
};

void pw_vma_result_deinit(struct pw_vma_result *result);

/*
 * Read the VMAs of address spaces. Each is walked until two consecutive walks find the same VMAs;
 * the fields are read between these two.
 */
int pw_vmas(const struct pw_kernel *kernel, const struct pw_column *mms,
	    const struct pw_mm_layout *layout, const struct pw_vma_limits *limits,
	    struct pw_vma_result *ret);

/* struct xa_node of include/linux/xarray.h */
#define PW_MAX_XA_SLOTS 64
struct pw_xa_layout {
	uint32_t shift, slots;
	uint32_t count;			/* slots of a node: a power of two, 2 to PW_MAX_XA_SLOTS */
};

#define PW_MAX_XA_NODES (UINT64_C(1) << 20)
#define PW_MAX_RUNS (UINT64_C(1) << 24)

/* Words of a run: first index, number of indices, entry of the first index. */
#define PW_RUN_WORDS 3

/*
 * Read the entries of the XArray whose xa_head is at an address. Entries at following indices merge
 * if each is the one before plus step; step 0: none do. max_nodes, max_runs: 0 for the default.
 */
int pw_xarray(const struct pw_kernel *kernel, uint64_t head, const struct pw_xa_layout *layout,
	      uint64_t step, uint64_t max_nodes, uint64_t max_runs, struct pw_words *runs,
	      struct pw_losses *losses);

#endif
