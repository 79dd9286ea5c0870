/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internal header of audit_bugs.ko. */
#ifndef AUDIT_BUGS_H
#define AUDIT_BUGS_H

#include <linux/fs.h>
#include <linux/mm.h>

#define ENTRY_PRESENT	BIT_ULL(0)
#define ENTRY_RW	BIT_ULL(1)
#define ENTRY_US	BIT_ULL(2)
#define ENTRY_PWT	BIT_ULL(3)
#define ENTRY_PCD	BIT_ULL(4)
#define ENTRY_ACCESSED	BIT_ULL(5)
#define ENTRY_PSE	BIT_ULL(7)
#define ENTRY_SPECIAL	BIT_ULL(9)
#define ENTRY_NX	BIT_ULL(63)
#define ENTRY_ADDRESS	0x000ffffffffff000ULL
/* The least that user mode needs to read a page. */
#define ENTRY_USER	(ENTRY_PRESENT | ENTRY_US | ENTRY_ACCESSED | ENTRY_NX)

enum mode { OFF, BUG, SOUND };

/* One bug. A lock in main.c serializes on() and off(). */
struct bug {
	const char *name;
	/* address: in user space, 0 for a bug in the kernel's tables. Returns 0 and sets place, or -errno. */
	int (*on)(struct bug *bug, bool sound, unsigned long address);
	void (*off)(struct bug *bug);
	enum mode mode;
	unsigned long place;		/* where an audit should find it */
	struct page *page;
	void *memory;
	u64 *entry;			/* the changed entry; its old value */
	u64 before;
};

extern struct bug kernel_bugs[], user_bugs[];

/* entries.c: page-table entries of the kernel and of the current process. */

/* The entry for an address at a level (1: PTE); NULL if there is no table at that level. */
u64 *entry_at(unsigned long address, int level);
/* The leaf's entry, of any level; NULL if there is none. */
u64 *leaf_of(unsigned long address);
/* The PTE of a page of RAM in the direct map; NULL if a larger entry cannot be split. */
u64 *physmap_entry(struct page *page);
/* Change an entry until the bug is turned off. */
int change(struct bug *bug, u64 *entry, u64 value);
void restore(struct bug *bug);

/* main.c */

/* The address of a symbol that is not exported; 0 if it does not exist. */
unsigned long symbol(const char *name);

/* user.c: mmap() of the device. The page offset selects the bug. */
int bugs_mmap(struct file *file, struct vm_area_struct *vma);
void user_exit(void);
int user_init(void);

#endif
