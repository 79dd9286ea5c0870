/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of audit_bugs.ko share. */
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

/* One bug. Its lock is main.c's: on and off come one at a time. */
struct bug {
	const char *name;
	/* address: of the user's, 0 for a bug of the kernel's own. Gives 0 and *place, or -errno. */
	int (*on)(struct bug *bug, bool sound, unsigned long address);
	void (*off)(struct bug *bug);
	enum mode mode;
	unsigned long place;		/* where an audit should find it */
	struct page *page;
	void *memory;
	u64 *entry;			/* what was changed, and how it was */
	u64 before;
};

extern struct bug kernel_bugs[], user_bugs[];

/* entries.c: page-table entries of the kernel and of the current process. */

/* The entry for an address at a level (1: PTE); NULL if the tables don't reach down to it. */
u64 *entry_at(unsigned long address, int level);
/* The leaf's entry, of any level; NULL if there is none. */
u64 *leaf_of(unsigned long address);
/* The direct map's own PTE of a page, which is in RAM; NULL if it can't be split. */
u64 *physmap_entry(struct page *page);
/* Change an entry for as long as the bug is on. */
int change(struct bug *bug, u64 *entry, u64 value);
void restore(struct bug *bug);

/* main.c */

/* The address of a symbol that is exported to nobody; 0 if there is none. */
unsigned long symbol(const char *name);

/* user.c: what mmap() of the device gives, by the page offset that was asked for. */
int bugs_mmap(struct file *file, struct vm_area_struct *vma);
void user_exit(void);
int user_init(void);

#endif
