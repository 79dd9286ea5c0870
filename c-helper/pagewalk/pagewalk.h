/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page-table engine: one address, a range of addresses, all mappings of a frame.
 *
 * Tables come through a callback, or from the caller's memory that holds a copy of physical
 * memory. The form of the tables is data (form.h). The engine has no globals that change; calls
 * that share no argument may run at the same time.
 *
 * Addresses and lengths are in bytes. Ranges are inclusive at both ends, so that the last page of
 * an address space needs no 2^64.
 */
#ifndef PAGEWALK_H
#define PAGEWALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PW_MAX_LEVELS 5
#define PW_MAX_MEMORY_TYPES 6

/* "No frame": larger than any physical address, because 0 is a legal frame. */
#define PW_NO_PADDR UINT64_MAX

/*
 * What an entry is, and how a walk ended. The names (pw_kind_name) are those of the Python
 * package's EntryKind and Outcome. The non-present kinds are those of include/linux/swapops.h;
 * the meaning of a swap type is configuration of the target (struct pw_swap_layout).
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
	PW_SPECIAL,		/* not present, not zero, and unknown to the swap layout; or a swap
				   entry in the upper half */
	PW_RESERVED_BITS,	/* present, with bits that must be zero: access would fault */
	PW_NON_CANONICAL,	/* outcome: the address is in neither half */
	PW_EXCLUDED,		/* outcome: the dump omits a table */
	PW_ZERO_FILLED,		/* outcome: a table reads as the zeros that the target makes up */
	PW_UNREADABLE,		/* outcome: a table cannot be read */
	PW_KINDS
};

/*
 * What an access may do, combined over all levels. Without PW_ACCESS no access is allowed.
 * PW_EXECUTE is for both modes, unless the form has PW_USER_EXECUTE as well (arm64's UXN and PXN):
 * then PW_EXECUTE is for the kernel and PW_USER_EXECUTE for user mode.
 */
enum pw_rights {
	PW_WRITE = 1,
	PW_EXECUTE = 2,
	PW_USER = 4,
	PW_ACCESS = 8,
	PW_USER_EXECUTE = 16,
};

/* What a call returns. Negative numbers of callbacks end the call and are returned. */
enum pw_status {
	PW_OK,
	PW_BAD_ARGUMENT,	/* a range or a number is out of its bounds */
	PW_NO_MEMORY,
	PW_TOO_MUCH_WORK,	/* the bound was reached; the results before it are valid */
};

struct pw_form;

extern const struct pw_form pw_x86_64_4_levels;
extern const struct pw_form pw_x86_64_5_levels;

/* Which swap types do not mean swap (include/linux/swap.h): first type, number of types. */
struct pw_swap_layout {
	struct {
		uint8_t first, count;
	} hwpoison, migration, device, marker;
};

/* The paging of one target. Nothing in it is a property of this host. */
struct pw_paging {
	const struct pw_form *form;
	uint64_t encrypt_mask;		/* SME's C-bit; removed from every physical address */
	/*
	 * Physical address bits that the processor lacks (from MAXPHYADDR on), less encrypt_mask;
	 * 0: not known. An entry with one of them is PW_RESERVED_BITS.
	 */
	uint64_t reserved_mask;
	/* By a leaf's index, from a register of the target: number of the form's memory type. */
	uint8_t memory_types[8];
	const struct pw_swap_layout *swap;	/* NULL: not known */
	bool zero_fills;		/* the target gives zeros for memory that it lacks */
};

/* Memory of the caller that holds a range of physical memory; need not be aligned. */
struct pw_direct {
	uint64_t paddr;
	uint64_t length;
	const void *bytes;		/* NULL: the dump omits the range */
};

/* Where physical memory comes from. */
struct pw_memory {
	/* Sorted by paddr, without overlaps; used before read(). */
	const struct pw_direct *direct;
	size_t direct_count;
	/*
	 * Reads everything else; NULL: everything else is unreadable. Fills data and returns 0,
	 * returns PW_EXCLUDED, PW_ZERO_FILLED or PW_UNREADABLE, or ends the call by a negative
	 * number. pw_walk() reads single entries, the other calls whole tables.
	 */
	int (*read)(void *arg, uint64_t paddr, void *data, size_t length);
	void *arg;
};

/* One entry on the way. */
struct pw_step {
	uint64_t table;			/* physical address of the table */
	uint64_t entry;			/* the raw bits */
	uint64_t base;			/* physical address it points at, or PW_NO_PADDR */
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
	int16_t swap_type;		/* -1: the last entry is not a swap entry */
	uint8_t outcome;		/* enum pw_kind, PW_LEAF for "mapped" */
	uint8_t rights;			/* enum pw_rights; 0 without a frame */
	uint8_t memory_type;		/* number of the form's memory type; only with a frame */
	uint8_t steps;
	struct pw_gap gap;
	struct pw_step step[PW_MAX_LEVELS];
};

/*
 * Walk for one address. roots: physical addresses of the topmost tables of the lower and of the
 * upper half, or values of the registers that hold them. Where both halves share a table (CR3 on
 * x86_64), both are the same.
 *
 * Reads at most one entry per level, and its table if a zero may be made up, so the contents of
 * memory cannot make it fail. Returns PW_OK or a negative number of the callback; *ret is written
 * with PW_OK only.
 */
int pw_walk(const struct pw_paging *paging, const struct pw_memory *memory,
	    const uint64_t roots[2], uint64_t address, struct pw_walk *ret);

/*
 * Write the names of the set bits of a step's entry, separated by blanks, into room bytes at ret.
 * Returns the length of the whole text, as snprintf() does.
 */
int pw_flag_names(const struct pw_paging *paging, const struct pw_step *step, size_t room,
		  char *ret);

const char *pw_kind_name(enum pw_kind kind);

/* Whether an entry of this kind names a frame. */
static inline bool pw_names_frame(enum pw_kind kind)
{
	return kind == PW_LEAF || kind == PW_PROT_NONE || kind == PW_INVALIDATED;
}

enum pw_merge {
	PW_MERGE_NOTHING,	/* one range per entry */
	PW_MERGE_FRAMES,	/* like entries that adjoin, virtually and physically */
	PW_MERGE_LIKE,		/* like entries that adjoin virtually, wherever the frames are */
};

/* What a sweep found between two addresses. */
struct pw_range {
	uint64_t start, last;
	uint64_t paddr;		/* of start, or PW_NO_PADDR; of start only with PW_MERGE_LIKE */
	uint64_t entry;		/* raw bits of the first entry; of a gap: 0 */
	uint64_t table;		/* the table of that entry; of a gap: the table that was not read */
	uint64_t shared_with;	/* PW_TABLE: the address where the same table was walked first */
	uint8_t level;		/* 1 for the last */
	uint8_t kind;		/* enum pw_kind; PW_TABLE: shared, and not walked again */
	uint8_t rights;		/* of frames and of shared tables, else 0 */
	uint8_t memory_type;	/* of frames */
	uint32_t gap_length;	/* of a gap: bytes of the table that were not read, else 0 */
};

struct pw_sweep_options {
	uint64_t first, last;
	uint64_t max_entries;	/* the bound on work; 0: PW_MAX_ENTRIES */
	/* Bits of entries that may differ inside a merged range: accessed, dirty, software. */
	uint64_t ignore;
	uint32_t skip;		/* kinds not to report: PW_SKIP(PW_NONE) | ... */
	uint8_t merge;		/* enum pw_merge */
	bool shared_once;	/* report a table that was walked whole, and do not walk it again */
	bool shared_by_rights;	/* but walk it for each combination of rights from above */
	bool each_table;	/* report PW_TABLE for each entry that points at a table, before
				   the ranges of that table */
};

#define PW_SKIP(kind) (1u << (kind))
#define PW_MAX_ENTRIES (UINT64_C(1) << 32)

struct pw_sweep_stats {
	uint64_t tables;	/* read, or not readable */
	uint64_t entries;	/* looked at */
	uint64_t gaps;		/* tables that could not be read */
	uint64_t shared;	/* tables not walked again */
	uint64_t stopped_at;	/* PW_TOO_MUCH_WORK: the first address not looked at */
};

/* Receives ranges in order, many in one call; a negative number ends the sweep. */
typedef int pw_range_fn(void *arg, const struct pw_range *ranges, size_t count);

/*
 * Report what each entry between two addresses means, in order, without overlaps. A table that
 * cannot be read is one range with the reason, and the sweep goes on. Addresses in neither half
 * are skipped.
 *
 * Without shared_once a tree whose tables share tables at each level is as large as it looks, and
 * only max_entries bounds it. With it each table is walked once per level.
 *
 * Returns PW_OK, PW_BAD_ARGUMENT, PW_NO_MEMORY, PW_TOO_MUCH_WORK or a negative number of a
 * callback; the ranges reported before are valid. *ret is always written, unless ret is NULL.
 */
int pw_sweep(const struct pw_paging *paging, const struct pw_memory *memory,
	     const uint64_t roots[2], const struct pw_sweep_options *options, pw_range_fn *hook,
	     void *arg, struct pw_sweep_stats *ret);

/* The index: for a frame, all its mappings in many address spaces. */
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

/* Returns NULL if there is no memory. */
struct pw_index *pw_index_create(void);
/*
 * An index of some frames only, which is faster to build. pfns: in any order, not kept. Lookups of
 * others find nothing.
 */
struct pw_index *pw_index_create_wanted(const uint64_t *pfns, size_t count);
void pw_index_destroy(struct pw_index *index);

/*
 * Sweep a range of a space and add its mappings. A shared table is walked once for each
 * combination of rights, and its frames are found at each place that leads to it.
 *
 * space: the caller's number, below PW_INDEX_SPACES. max_entries: as for pw_sweep(). All spaces
 * must have the same page size. Returns as pw_sweep(); mappings added before an error stay.
 */
int pw_index_add(struct pw_index *index, uint32_t space, const struct pw_paging *paging,
		 const struct pw_memory *memory, const uint64_t roots[2], uint64_t first,
		 uint64_t last, uint64_t max_entries, struct pw_sweep_stats *ret);

/* Whether lookups of a frame are complete: all frames, or the wanted ones. */
bool pw_index_covers(const struct pw_index *index, uint64_t pfn);

/* Sort, after the last pw_index_add() and before the first lookup. PW_OK or PW_NO_MEMORY. */
int pw_index_finish(struct pw_index *index);

/*
 * Write at most room mappings of a frame, sorted by space and address, to ret. Returns how many
 * there are, at most PW_INDEX_MOST: tables shared at each level can make billions.
 */
size_t pw_index_lookup(const struct pw_index *index, uint64_t pfn, size_t room,
		       struct pw_mapping *ret);
#ifndef PW_INDEX_MOST
#define PW_INDEX_MOST (1u << 20)
#endif

/* The size of the index: records (16 bytes each) and the pages that they represent. */
void pw_index_size(const struct pw_index *index, size_t *records, uint64_t *pages);

/*
 * Accounts of all frames up to a number: arrays of the caller by PFN. Calls add to them. Frames
 * beyond the arrays are not counted.
 */
struct pw_account {
	uint64_t frames;		/* length of each array */
	/* 1 << memory type, PW_USE_SPECIAL, PW_USE_NORMAL; NULL: only report marked frames */
	uint8_t *uses;
	uint8_t *counts;		/* last-level entries, less special ones; up to 255 */
	const uint8_t *marked;		/* report where these are mapped; NULL: none */
	uint64_t most_places;		/* limit of runs of marked frames that are reported */
	uint64_t special;		/* bit of an entry whose page the kernel does not count */
	bool alike;			/* report ranges as with PW_MERGE_LIKE; not with marked */
};

#define PW_USE_SPECIAL 0x40
#define PW_USE_NORMAL 0x80

/*
 * Sweep a range and add it to the accounts. The hook receives each entry that points at a table
 * (PW_TABLE, paddr is the table's), and runs of marked frames or, with alike, all ranges but empty
 * ones; tables may come before ranges of lower addresses. Shared tables are walked once and count
 * once. counts or marked may be NULL. Returns as pw_sweep(), and PW_BAD_ARGUMENT if the range does
 * not consist of whole pages.
 */
int pw_account_add(const struct pw_account *account, const struct pw_paging *paging,
		   const struct pw_memory *memory, const uint64_t roots[2], uint64_t first,
		   uint64_t last, uint64_t max_entries, pw_range_fn *hook, void *arg,
		   struct pw_sweep_stats *ret);

/* Add the accounts of another sweep; both may have had a part of the address spaces. */
void pw_account_merge(const struct pw_account *account, const struct pw_account *other);

/* A record is of a class if (eight bytes at offset, little-endian, & mask) == value. */
struct pw_class {
	uint64_t mask, value;
	uint32_t offset;
	uint8_t class;			/* a bit */
};

/*
 * Classify an array of records, such as struct page: ret[i] has the bits of all classes of record
 * i. A record of a class in follows also gets the classes of the record before it.
 * Returns PW_OK, or PW_BAD_ARGUMENT for an offset outside a record.
 */
int pw_classify(const void *records, size_t count, size_t record_bytes,
		const struct pw_class *classes, size_t class_count, uint8_t follows, uint8_t *ret);

#endif
