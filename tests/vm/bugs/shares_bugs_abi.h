/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ABI of shares_bugs.ko for ../shares_bugs.c.
 *
 * An open file is one case: a bug, or its sound twin, which is the same thing done right.
 */
#ifndef SHARES_BUGS_ABI_H
#define SHARES_BUGS_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Pages of a region. A region of one page has a hole behind it. */
#define SHARES_BUGS_REGION	4
/* Pages that a file can map: the region's, then neighbours of the same driver. */
#define SHARES_BUGS_PAGES	8

/*
 * The policies that drivers forget. One device per policy, because a policy
 * applies to all mappings of a device: /dev/shares_bugs and so on.
 */
enum shares_bugs_device {
	SHARES_BUGS_PLAIN,
	SHARES_BUGS_READ_ONLY,	/* the user may not write */
	SHARES_BUGS_NO_CHILD,	/* a child may not have it */
	SHARES_BUGS_NO_EXEC,	/* the user may never execute it */
	SHARES_BUGS_DEVICES,
};

enum shares_bugs_number {
	SHARES_BUGS_WRONG_FRAME,
	SHARES_BUGS_WRONG_ORDER,
	SHARES_BUGS_OFF_BY_ONE,
	SHARES_BUGS_CONTIGUOUS,
	SHARES_BUGS_LENGTH,
	SHARES_BUGS_OFFSET,
	SHARES_BUGS_GROWN,
	SHARES_BUGS_PARTIAL,
	SHARES_BUGS_PRIVATE,
	SHARES_BUGS_ZERO_PAGE,
	SHARES_BUGS_FREED,
	SHARES_BUGS_FREED_SLAB,
	SHARES_BUGS_FREED_ANON,
	SHARES_BUGS_FREED_CACHE,
	SHARES_BUGS_POISONED,
	SHARES_BUGS_REFERENCE,
	SHARES_BUGS_TAILS,
	SHARES_BUGS_MAPCOUNT,
	SHARES_BUGS_OPERATIONS,
	SHARES_BUGS_REGION_FREED,
	SHARES_BUGS_OBJECT_FREED,
	SHARES_BUGS_SUB_PAGE,
	SHARES_BUGS_INHERITED,
	SHARES_BUGS_MAY_INHERIT,
	SHARES_BUGS_WRITABLE,
	SHARES_BUGS_MAY_WRITE,
	SHARES_BUGS_EXECUTABLE,
	SHARES_BUGS_MAY_EXECUTE,
	SHARES_BUGS_KERNEL_READS,
	SHARES_BUGS_KERNEL_EXECUTES,
	SHARES_BUGS_KERNEL_OPEN,
	SHARES_BUGS_USER_CLOSED,
	SHARES_BUGS_UNCACHED,
	SHARES_BUGS_COMBINING,
	SHARES_BUGS_PHYSMAP,
	SHARES_BUGS_RAW_FRAME,
	SHARES_BUGS_BY_HAND,
	SHARES_BUGS_FREED_LISTED,
	SHARES_BUGS_FREED_STACK,
	SHARES_BUGS_STACK,
	SHARES_BUGS_OTHERS,
	SHARES_BUGS_BEYOND_OBJECT,
	SHARES_BUGS_BEYOND_AREA,
	SHARES_BUGS_COUNT,
};

struct shares_bugs_choice {
	__u32 number;	/* enum shares_bugs_number */
	__u32 sound;	/* 1: the twin */
	__u64 frame;	/* of another driver, for the bug that maps one; else 0 */
};

/* A task of the caller, and a frame. */
struct shares_bugs_stack {
	__u64 frame;
	__s32 pid;
	__u32 reserved;
};

/*
 * The kernel's own facts about a case: page-table entries from its own walk, per page
 * of the mapping or of the region; 0 if there is none.
 */
struct shares_bugs_facts {
	__u64 address;	/* in: of the mapping */
	__u64 pages;	/* in: of the mapping, at most SHARES_BUGS_PAGES */
	__u64 at;	/* struct shares_bugs_case */
	__u64 kernel;	/* the region's address */
	__u64 user_entry[SHARES_BUGS_PAGES];
	__u64 kernel_entry[SHARES_BUGS_REGION];
	__u64 physmap_entry[SHARES_BUGS_REGION];
	__u32 kernel_level[SHARES_BUGS_REGION];	/* enum pg_level: 1 is 4 KiB */
	__u64 region_pfn[SHARES_BUGS_REGION];
};

/* EBUSY: the file has a case already. EOPNOTSUPP: not possible on this kernel. */
#define SHARES_BUGS_CHOOSE	_IOW('b', 1, struct shares_bugs_choice)
/*
 * Makes the part of the bug that happens after mmap(); does nothing for a twin. EAGAIN: the
 * freed memory was not reused as planned, try again with another file.
 */
#define SHARES_BUGS_SPOIL	_IO('b', 2)
/* 1: the frame is in the kernel stack of the task. */
#define SHARES_BUGS_HAS_STACK	_IOW('b', 4, struct shares_bugs_stack)
/* in: an address of the caller; out: the kernel's address of the page, which stays pinned */
#define SHARES_BUGS_PIN		_IOWR('b', 5, __u64)
#define SHARES_BUGS_TELL	_IOWR('b', 3, struct shares_bugs_facts)

#endif /* SHARES_BUGS_ABI_H */
