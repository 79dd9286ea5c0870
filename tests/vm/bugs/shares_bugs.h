/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internal header: a case, then the prototypes file by file. */
#ifndef SHARES_BUGS_H
#define SHARES_BUGS_H

#include <linux/mm.h>
#include <linux/types.h>

#include "shares_bugs_abi.h"

struct shares_bugs_kind;

/* How the pages are cached, in the user's mapping. */
enum shares_bugs_cache {
	SHARES_BUGS_WRITE_BACK,
	SHARES_BUGS_UNCACHED_MINUS,
	SHARES_BUGS_WRITE_COMBINING,
};

/* A case: file->private_data of an open file. */
struct shares_bugs_case {
	const struct shares_bugs_kind *kind;
	bool sound;			/* the twin */
	void *kernel;			/* the region's kernel address */
	struct page *pages[SHARES_BUGS_REGION];	/* the region's, from @kernel on */
	struct page *given[SHARES_BUGS_PAGES];	/* what a mapping gets; NULL: no entry */
	enum shares_bugs_cache cache;
	unsigned long frame;		/* of another driver; 0: none */
};

/* Checks of a sound driver that a bug leaves out. */
#define SHARES_BUGS_ANY_RANGE	0x1u
#define SHARES_BUGS_ANY_PRIVATE	0x2u
#define SHARES_BUGS_ANY_WRITE	0x4u
#define SHARES_BUGS_ANY_EXEC	0x8u

struct shares_bugs_kind {
	enum shares_bugs_device device;
	int (*make)(struct shares_bugs_case *one);
	int (*map)(struct shares_bugs_case *one, struct vm_area_struct *vma);
	int (*spoil)(struct shares_bugs_case *one);	/* of the bug only; may be NULL */
	bool read_only;			/* the user may not write */
	unsigned int unchecked;		/* by the bug: SHARES_BUGS_ANY_* */
	vm_flags_t lacks;		/* flags that the bug does not set */
	vm_flags_t leaves;		/* VM_MAY* that the bug does not clear */
};

/* memory.c */
int shares_bugs_memory_init(void);
struct shares_bugs_case *shares_bugs_case_alloc(bool doomed);
void shares_bugs_case_free(struct shares_bugs_case *one);
struct page *shares_bugs_given(const struct shares_bugs_case *one, pgoff_t index);
int make_block(struct shares_bugs_case *one);
int make_wrong_frame(struct shares_bugs_case *one);
int make_wrong_order(struct shares_bugs_case *one);
int make_off_by_one(struct shares_bugs_case *one);
int make_scattered(struct shares_bugs_case *one);
int make_partial(struct shares_bugs_case *one);
int make_zero_page(struct shares_bugs_case *one);
int make_unsplit(struct shares_bugs_case *one);
int make_tails(struct shares_bugs_case *one);
int make_single(struct shares_bugs_case *one);
int make_movable(struct shares_bugs_case *one);
int make_object(struct shares_bugs_case *one);
int make_sub_page(struct shares_bugs_case *one);
int make_text(struct shares_bugs_case *one);
int make_read_only_alias(struct shares_bugs_case *one);
int make_open_alias(struct shares_bugs_case *one);
int make_uncached(struct shares_bugs_case *one);
int make_combining(struct shares_bugs_case *one);
int make_physmap_uncached(struct shares_bugs_case *one);
int make_beyond_object(struct shares_bugs_case *one);
int make_beyond_area(struct shares_bugs_case *one);

/* owners.c: memory of other owners */
int make_listed(struct shares_bugs_case *one);
int make_freed_stack(struct shares_bugs_case *one);
int make_stack(struct shares_bugs_case *one);
int make_others(struct shares_bugs_case *one);
int spoil_freed_stack(struct shares_bugs_case *one);
int shares_bugs_has_stack(const struct shares_bugs_stack __user *from);
int shares_bugs_pin(__u64 __user *at);

/* map.c */
int map_inserted(struct shares_bugs_case *one, struct vm_area_struct *vma);
int map_remapped(struct shares_bugs_case *one, struct vm_area_struct *vma);
int map_by_fault(struct shares_bugs_case *one, struct vm_area_struct *vma);
int map_raw_by_fault(struct shares_bugs_case *one, struct vm_area_struct *vma);
int map_unmarked(struct shares_bugs_case *one, struct vm_area_struct *vma);
int map_closed(struct shares_bugs_case *one, struct vm_area_struct *vma);
int map_borrowed(struct shares_bugs_case *one, struct vm_area_struct *vma);
int shares_bugs_lend(const struct vm_operations_struct *ops);
int shares_bugs_tell(const struct shares_bugs_case *one, struct shares_bugs_facts *facts);

/* spoil.c */
#define SHARES_BUGS_FREED_ORDER	4	/* too large for per-CPU lists */
int shares_bugs_spoil_init(void);
void *shares_bugs_object_alloc(void);
int spoil_freed(struct shares_bugs_case *one);
int spoil_freed_single(struct shares_bugs_case *one);
int spoil_freed_slab(struct shares_bugs_case *one);
int spoil_poisoned(struct shares_bugs_case *one);
int spoil_reference(struct shares_bugs_case *one);
int spoil_mapcount(struct shares_bugs_case *one);
int spoil_region(struct shares_bugs_case *one);
int spoil_object(struct shares_bugs_case *one);

#endif /* SHARES_BUGS_H */
