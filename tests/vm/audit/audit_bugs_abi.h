/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ABI of audit_bugs.ko for ../audit_victim.c. write() of "NAME MODE ADDRESS" to /dev/audit_bugs sets
 * a bug: mode 0 removes it, 1 makes it, 2 makes its sound twin. read() returns such lines. mmap() of
 * two pages at one of these page offsets makes a driver's bug in the second page.
 */
#ifndef AUDIT_BUGS_ABI_H
#define AUDIT_BUGS_ABI_H

#define AUDIT_PAGE	0	/* nothing wrong */
#define AUDIT_RIGHTS	1	/* writable, where the VMA is not */
#define AUDIT_TABLE	2	/* the page table that maps the first page */
#define AUDIT_FREE	3	/* freed after it was mapped */
#define AUDIT_SLAB	4	/* kmalloc() memory */
#define AUDIT_TYPES	5	/* uncached */
#define AUDIT_LISTED	6	/* free too, on a CPU's list */
#define AUDIT_STACK	7	/* a task's kernel stack */
#define AUDIT_OTHERS	8	/* the frame of another driver that was written as "others MODE PFN" */
#define AUDIT_SOUND	0x100	/* the same, done right */

#endif
