/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What shares_counter.ko and tests/vm/shares_counter.c share. */
#ifndef SHARES_COUNTER_ABI_H
#define SHARES_COUNTER_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define SHARES_COUNTER_DEVICE "/dev/shares_counter"

/* The value of @turn. */
enum shares_counter_turn {
	SHARES_COUNTER_USER,
	SHARES_COUNTER_KERNEL,
};

/*
 * The page. A round of one side: read @count, write @count + 1, write @turn, the other side's.
 * The user begins, so it writes the odd numbers.
 */
struct shares_counter_page {
	__u32 turn;		/* who may write; written by its owner */
	__u32 count;		/* written by the owner of the turn */
	char text[16];		/* "page N", N counts open files; written by open() */
};

/* Where the kernel's round runs. */
enum shares_counter_where {
	SHARES_COUNTER_TASK,
	SHARES_COUNTER_SOFTIRQ,
	SHARES_COUNTER_HARDIRQ,
};

/* A round of the kernel. The argument is an enum shares_counter_where. */
#define SHARES_COUNTER_ADD _IO(0xb7, 0)

#endif /* SHARES_COUNTER_ABI_H */
