/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first bytes of many pages of another process, which is faster than copying the pages. */
#ifndef PAGEWALK_HEADS_H
#define PAGEWALK_HEADS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Copy the first bytes of each page to data, which has pages * bytes of room. A page that cannot be read
 * gives zeros. Returns 0 or a negative errno if the process cannot be read at all.
 */
int pw_read_heads(pid_t pid, uint64_t address, size_t pages, size_t page_bytes, size_t bytes,
		  void *data);

#endif
