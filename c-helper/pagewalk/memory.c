// SPDX-License-Identifier: GPL-2.0-or-later
/* Physical memory: the caller's direct mappings first, then the callback. */
#include "internal.h"

/* Bytes of a table to prefetch: the processor's own prefetcher has recognised the pattern by then. */
#define CACHE_LINE 64
#define PREFETCHED (64 * CACHE_LINE)

static const struct pw_direct *find_direct(const struct pw_memory *memory, uint64_t paddr)
{
	size_t low = 0, high = memory->direct_count;

	/* direct[low - 1] is the last one that begins at or below paddr. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memory->direct[middle].paddr <= paddr)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &memory->direct[low - 1] : NULL;
}

int pw_fetch(const struct pw_memory *memory, uint64_t paddr, size_t length, void *buffer,
	     const void **ret)
{
	const struct pw_direct *direct = find_direct(memory, paddr);
	int err;

	if (direct) {
		uint64_t offset = paddr - direct->paddr;

		if (offset < direct->length && length <= direct->length - offset) {
			if (!direct->bytes)
				return PW_EXCLUDED;
			*ret = (const char *)direct->bytes + offset;
			return 0;
		}
	}
	if (!memory->read)
		return PW_UNREADABLE;
	err = memory->read(memory->arg, paddr, buffer, length);
	if (err > 0 && err != PW_EXCLUDED && err != PW_ZERO_FILLED)
		err = PW_UNREADABLE;
	if (!err)
		*ret = buffer;
	return err;
}

void pw_prefetch(const struct pw_memory *memory, uint64_t paddr)
{
	const struct pw_direct *direct = find_direct(memory, paddr);

	if (!direct || !direct->bytes || paddr - direct->paddr >= direct->length ||
	    direct->length - (paddr - direct->paddr) < PREFETCHED)
		return;
	for (unsigned int at = 0; at < PREFETCHED; at += CACHE_LINE)
		__builtin_prefetch((const char *)direct->bytes + (paddr - direct->paddr) + at);
}

bool pw_all_zero(const void *bytes, size_t length)
{
	for (size_t i = 0; i < length / PW_ENTRY_BYTES; i++) {
		if (pw_load(bytes, i))
			return false;
	}
	return true;
}
