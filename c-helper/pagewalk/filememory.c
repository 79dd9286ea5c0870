// SPDX-License-Identifier: GPL-2.0-or-later
/* Physical memory in a file, read by pread(). */
#include <unistd.h>

#include "filememory.h"

/* The last part that begins at or below an address; NULL if there is none. */
static const struct pw_file_part *part_of(const struct pw_file_memory *memory, uint64_t paddr)
{
	size_t low = 0, high = memory->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memory->parts[middle].paddr <= paddr)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &memory->parts[low - 1] : NULL;
}

bool pw_file_read(const struct pw_file_memory *memory, uint64_t paddr, void *data, size_t length)
{
	const struct pw_file_part *part = part_of(memory, paddr);
	uint64_t skip;

	if (!part)
		return false;
	skip = paddr - part->paddr;
	if (skip >= part->length || length > part->length - skip)
		return false;
	/* Not repeated if it is short: the caller's other way of reading gives the reason. */
	return pread(memory->descriptor, data, length, (off_t)(part->offset + skip)) ==
	       (ssize_t)length;
}
