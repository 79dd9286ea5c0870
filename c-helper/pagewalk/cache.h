/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Physical memory through a cache of whole pages, for the length of one call.
 *
 * Structures and tables are read in small pieces, and the caller's callback may be slow. The cache
 * reads the 4 KiB page around each piece and keeps it. Make a new one for each look at a target that
 * changes, or both looks see the same bytes.
 *
 * Direct memory needs no cache: pw_fetch() points into it.
 */
#ifndef PAGEWALK_CACHE_H
#define PAGEWALK_CACHE_H

#include "pagewalk.h"

#define PW_CACHE_PAGE 4096u

struct pw_cache {
	/* Reads through the cache. Valid until pw_cache_deinit(); the cache must not move. */
	struct pw_memory memory;
	const struct pw_memory *below;
	struct pw_cached {
		uint64_t paddr;
		unsigned char *bytes;	/* NULL: never used */
		int kind;		/* 0, or why the page cannot be read */
	} *slots;
	struct pw_cache_page *pages;	/* all that were allocated, so that few are freed quickly */
	size_t sets;			/* a power of two */
	unsigned int victim;		/* the slot of a full set that is reused next */
};

/*
 * Keep up to about the given number of pages that are read through below, which must stay valid. A
 * page is allocated when it is used. Returns false if there is no memory.
 */
bool pw_cache_init(struct pw_cache *cache, const struct pw_memory *below, size_t pages);
/*
 * Read adjoining pages at once, if they are not direct memory, because they will be needed. What
 * cannot be read at once is left for later. Returns 0 or a negative number of the callback.
 */
int pw_cache_fill(struct pw_cache *cache, uint64_t paddr, size_t pages);
void pw_cache_deinit(struct pw_cache *cache);

#endif
