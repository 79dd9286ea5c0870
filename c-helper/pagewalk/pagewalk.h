/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page-table engine: one address, a range of addresses, all mappings of a frame.
 *
 * It knows no source of memory: tables come through a callback, or from memory of the caller's
 * that stands for physical memory. It knows no architecture either: the form of the tables is
 * data (form.h). It has no globals that change; calls that share no argument may run at once.
 *
 * Addresses and lengths are in bytes, ranges inclusive at both ends, so that the last page of an
 * address space needs no 2^64.
 */
#ifndef PAGEWALK_H
#define PAGEWALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PW_MAX_LEVELS 5

/* "No frame is named": more than any physical address. 0 is a legal frame. */
#define PW_NO_PADDR UINT64_MAX

/*
 * What an entry is, and how a walk ended. The names (pw_kind_name) are those of the Python
 * package's EntryKind and Outcome. The non-present kinds are those of include/linux/swapops.h;
 * which swap type means which is configuration of the target (struct pw_swap_layout).
 */
enum pw_kind {
	PW_TABLE,		/* present, points at the next table */
	PW_LEAF,		/* present, maps a frame; as an outcome: "mapped" */
	PW_PROT_NONE,		/* names a frame that no access may use */
	PW_INVALIDATED,		/* huge leaf that is not present for a moment: pmd_mkinvalid() */
	PW_NONE,		/* all bits are zero */
	PW_SWAP,
	PW_MIGRATION,
	PW_DEVICE_PRIVATE,
	PW_HWPOISON,
	PW_GUARD_MARKER,
	PW_UFFD_WP_MARKER,
	PW_POISON_MARKER,
	PW_OTHER_MARKER,
	PW_SPECIAL,		/* not present, not zero, and the layout does not say what; or in
				   the upper half */
	PW_RESERVED_BITS,	/* present, with bits that must be zero: access would fault */
	PW_NON_CANONICAL,	/* outcome: the address is in no half */
	PW_EXCLUDED,		/* outcome: a table was left out of the dump */
	PW_ZERO_FILLED,		/* outcome: a table reads as the zeros that the target makes up */
	PW_UNREADABLE,		/* outcome: a table can't be read */
	PW_KINDS
};

/* What an access may do, combined over all levels. Without PW_ACCESS nothing may touch it. */
enum pw_rights {
	PW_WRITE = 1,
	PW_EXECUTE = 2,
	PW_USER = 4,
	PW_ACCESS = 8,
};

/* enum page_cache_mode of arch/x86/include/asm/pgtable_types.h, by its names. */
enum pw_memory_type { PW_WB, PW_WC, PW_UC_MINUS, PW_UC, PW_WT, PW_WP, PW_MEMORY_TYPES };

/* What a call returns. Negative numbers of callbacks are passed on: stop, and return it. */
enum pw_status {
	PW_OK,
	PW_BAD_ARGUMENT,	/* a range that is none, a form that is none */
	PW_NO_MEMORY,
	PW_TOO_MUCH_WORK,	/* the bound was reached; what came before is sound */
};

struct pw_form;

extern const struct pw_form pw_x86_64_4_levels;
extern const struct pw_form pw_x86_64_5_levels;

/* Which swap types are not swap (include/linux/swap.h): first type, number of types. */
struct pw_swap_layout {
	struct {
		uint8_t first, count;
	} hwpoison, migration, device, marker;
};

/* The paging of one target. Nothing in it is a property of this host. */
struct pw_paging {
	const struct pw_form *form;
	uint64_t encrypt_mask;		/* SME's C-bit: in no physical address */
	/*
	 * Address bits that the processor lacks (from MAXPHYADDR on), less encrypt_mask; 0: not
	 * known. An entry with one of them is PW_RESERVED_BITS.
	 */
	uint64_t reserved_mask;
	uint8_t memory_types[8];	/* enum pw_memory_type by index, from the target's MSR */
	const struct pw_swap_layout *swap;	/* NULL: not known */
	bool zero_fills;		/* the target gives zeros for what it does not have */
};

/* Memory of the caller's that holds a range of physical memory; need not be aligned. */
struct pw_direct {
	uint64_t paddr;
	uint64_t length;
	const void *bytes;		/* NULL: known to be left out of the dump */
};

/* Where physical memory comes from. */
struct pw_memory {
	/* Sorted by paddr, without overlaps; asked first. */
	const struct pw_direct *direct;
	size_t direct_count;
	/*
	 * For all else; NULL: all else is unreadable. Fills data and returns 0, or says why not
	 * by PW_EXCLUDED, PW_ZERO_FILLED or PW_UNREADABLE, or stops everything by a negative
	 * number. Asked for one entry by pw_walk(), for whole tables by the others.
	 */
	int (*read)(void *arg, uint64_t paddr, void *data, size_t length);
	void *arg;
};

/* One entry on the way. */
struct pw_step {
	uint64_t table;			/* physical address of the table */
	uint64_t entry;			/* the raw bits */
	uint64_t base;			/* where it points, or PW_NO_PADDR */
	uint32_t index;			/* in the table */
	uint8_t level;			/* 1 for the last */
	uint8_t kind;			/* enum pw_kind */
	bool upper;			/* on the way to the upper half */
};

/* A memory read that failed, and for which table. */
struct pw_gap {
	uint64_t table;
	uint64_t paddr;
	uint32_t length;		/* 0: none failed */
	uint8_t level;
};

/* A walk for one address. */
struct pw_walk {
	uint64_t address;
	uint64_t root;			/* physical address of the topmost table */
	uint64_t paddr;			/* of the address itself, or PW_NO_PADDR */
	uint64_t leaf_bytes;		/* 0: no leaf */
	uint64_t swap_offset;
	int16_t swap_type;		/* -1: the last entry is no swap entry */
	uint8_t outcome;		/* enum pw_kind, PW_LEAF for "mapped" */
	uint8_t rights;			/* enum pw_rights; 0 without a frame */
	uint8_t memory_type;		/* enum pw_memory_type; only with a frame */
	uint8_t steps;
	struct pw_gap gap;
	struct pw_step step[PW_MAX_LEVELS];
};

/*
 * Walk for one address. roots: physical addresses of the topmost tables of the lower and of the
 * upper half, or register values with more in them (CR3); the same twice on x86_64.
 * Reads at most one entry a level (and its table, if a zero is doubted): what is in memory can't
 * make it fail. Returns PW_OK or a negative number of the callback's; *ret only with PW_OK.
 */
int pw_walk(const struct pw_paging *paging, const struct pw_memory *memory,
	    const uint64_t roots[2], uint64_t address, struct pw_walk *ret);

/*
 * The sentence that belongs to a walk, with level and table: "PTE entry 3 of the table at 0x4000
 * is swap". Empty for a mapped address. Writes as snprintf() does and returns what it returns.
 */
int pw_describe(const struct pw_paging *paging, const struct pw_walk *walk, char *text,
		size_t room);

/* The set bits of a step's entry in the manual's words, with blanks between; as snprintf(). */
int pw_flag_names(const struct pw_paging *paging, const struct pw_step *step, char *text,
		  size_t room);

const char *pw_kind_name(enum pw_kind kind);
const char *pw_outcome_name(enum pw_kind kind);
const char *pw_memory_type_name(enum pw_memory_type type);

/* Whether an entry of this kind names a frame. */
static inline bool pw_names_frame(enum pw_kind kind)
{
	return kind == PW_LEAF || kind == PW_PROT_NONE || kind == PW_INVALIDATED;
}

enum pw_merge {
	PW_MERGE_NOTHING,	/* one range an entry */
	PW_MERGE_FRAMES,	/* what adjoins, virtually and physically, and is alike */
	PW_MERGE_LIKE,		/* what adjoins virtually and is alike, wherever the frames are */
};

/* What was seen between two addresses. */
struct pw_range {
	uint64_t start, last;
	uint64_t paddr;		/* of start, or PW_NO_PADDR; the rest follows, not with MERGE_LIKE */
	uint64_t entry;		/* raw bits of the first entry; of a gap: 0 */
	uint64_t table;		/* where that entry is; of a gap: the table that can't be had */
	uint64_t shared_with;	/* PW_TABLE: where the same table was walked already */
	uint8_t level;		/* 1 for the last */
	uint8_t kind;		/* enum pw_kind; PW_TABLE: shared, and not walked again */
	uint8_t rights;		/* of frames and of shared tables, else 0 */
	uint8_t memory_type;	/* of frames */
	uint32_t gap_length;	/* of a gap: what was read in vain, from its table's start on */
};

struct pw_sweep_options {
	uint64_t first, last;
	uint64_t max_entries;	/* the bound on work; 0: PW_MAX_ENTRIES */
	/* Bits of entries that may differ inside a merged range: accessed, dirty, software. */
	uint64_t ignore;
	uint32_t skip;		/* kinds not to report: PW_SKIP(PW_NONE) | ... */
	uint8_t merge;		/* enum pw_merge */
	bool shared_once;	/* report a table that was walked whole already, don't repeat it */
	bool shared_by_rights;	/* but walk it for each combination of rights from above */
	bool each_table;	/* PW_TABLE for each entry that leads to a table: before what is below */
};

#define PW_SKIP(kind) (1u << (kind))
#define PW_MAX_ENTRIES (UINT64_C(1) << 32)

struct pw_sweep_stats {
	uint64_t tables;	/* read */
	uint64_t entries;	/* looked at */
	uint64_t gaps;		/* tables that could not be had */
	uint64_t shared;	/* tables not walked again */
	uint64_t stopped_at;	/* PW_TOO_MUCH_WORK: the first address not looked at */
};

/* Takes ranges in order, many at a time; a negative number stops the sweep. */
typedef int pw_range_fn(void *arg, const struct pw_range *ranges, size_t count);

/*
 * Give what every entry between two addresses means, in order, without overlaps. A table that
 * can't be had is one range that says so, and the rest goes on. Non-canonical addresses are
 * nobody's and are passed over.
 *
 * Without shared_once a tree that shares tables at each level is as large as it looks: only
 * max_entries bounds it. With it each table is walked once a level.
 *
 * Returns PW_OK, PW_BAD_ARGUMENT, PW_NO_MEMORY, PW_TOO_MUCH_WORK or a callback's negative number;
 * ranges before that were given and are sound. *ret is always written, unless it is NULL.
 */
int pw_sweep(const struct pw_paging *paging, const struct pw_memory *memory,
	     const uint64_t roots[2], const struct pw_sweep_options *options, pw_range_fn *hook,
	     void *arg, struct pw_sweep_stats *ret);

/* All mappings of frames in many address spaces. */
struct pw_index;

/* One mapping of a frame. */
struct pw_mapping {
	uint64_t address;	/* virtual, of the frame's first byte */
	uint32_t space;
	uint8_t level;		/* of the leaf */
	uint8_t rights;		/* without PW_ACCESS: PROT_NONE, or invalidated */
	uint8_t memory_type;
};

#define PW_INDEX_SPACES 65536

/* NULL if there is no memory. */
struct pw_index *pw_index_create(void);
void pw_index_destroy(struct pw_index *index);

/*
 * Sweep a range of a space and add its mappings; options as for pw_sweep(), less merge and skip.
 * Tables walked once (shared_once) count where they are shared too. space: below
 * PW_INDEX_SPACES, the caller's number. Returns as pw_sweep(); after an error what was added
 * before stays.
 */
int pw_index_add(struct pw_index *index, uint32_t space, const struct pw_paging *paging,
		 const struct pw_memory *memory, const uint64_t roots[2],
		 const struct pw_sweep_options *options, struct pw_sweep_stats *ret);

/* Sort, after the last pw_index_add() and before the first lookup. PW_OK or PW_NO_MEMORY. */
int pw_index_finish(struct pw_index *index);

/*
 * All mappings of a frame, by space and address. Writes at most room of them, and returns how
 * many there are, at most PW_INDEX_MOST: tables shared at each level may make up billions.
 */
size_t pw_index_lookup(const struct pw_index *index, uint64_t pfn, struct pw_mapping *ret,
		       size_t room);
#ifndef PW_INDEX_MOST
#define PW_INDEX_MOST (1u << 20)
#endif

/*
 * Accounts of all frames up to a number: arrays of the caller's by PFN, which are added to.
 * Frames beyond them count nowhere.
 */
struct pw_account {
	uint64_t frames;		/* length of each array */
	uint8_t *uses;			/* 1 << enum pw_memory_type, PW_USE_SPECIAL, PW_USE_NORMAL */
	uint8_t *counts;		/* entries of the last level, less special ones; up to 255 */
	const uint8_t *marked;		/* tell where these are mapped; NULL: none */
	uint64_t most_places;		/* of marked frames that are told */
	uint64_t special;		/* the bit of an entry whose page the kernel does not count */
};

#define PW_USE_SPECIAL 0x40
#define PW_USE_NORMAL 0x80

/*
 * Sweep a range and add it to the accounts; options as for pw_index_add(). The hook gets each
 * entry that leads to a table (PW_TABLE, paddr is the table's), and runs of marked frames.
 * Tables walked once (shared_once) count once. Returns as pw_sweep(), and PW_BAD_ARGUMENT for a
 * range that is not of whole pages. counts or marked may be NULL.
 */
int pw_account_add(const struct pw_account *account, const struct pw_paging *paging,
		   const struct pw_memory *memory, const uint64_t roots[2],
		   const struct pw_sweep_options *options, pw_range_fn *hook, void *arg,
		   struct pw_sweep_stats *ret);

/* A record is of a class if eight bytes of it (little-endian) are so. */
struct pw_class {
	uint64_t mask, value;
	uint32_t offset;
	uint8_t class;			/* a bit */
};

/*
 * Classes of records in a row, such as struct page: ret[i] has the bits of all that record i is.
 * A record of a class in follows is also of the classes of the one before it.
 * PW_OK, or PW_BAD_ARGUMENT for an offset that is not in a record.
 */
int pw_classify(const void *records, size_t count, size_t record_bytes,
		const struct pw_class *classes, size_t class_count, uint8_t follows, uint8_t *ret);

/* What the index holds: records (16 bytes each) and the pages that they stand for. */
void pw_index_size(const struct pw_index *index, size_t *records, uint64_t *pages);

#endif
