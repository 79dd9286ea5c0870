// SPDX-License-Identifier: GPL-2.0-or-later
/* A set-associative cache of physical pages, in front of the callback. */
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "internal.h"

#define WAYS 8

struct pw_cache_page {
	struct pw_cache_page *next;
	unsigned char bytes[PW_CACHE_PAGE];
};

static unsigned char *new_page(struct pw_cache *cache)
{
	struct pw_cache_page *page = malloc(sizeof(*page));

	if (!page)
		return NULL;
	page->next = cache->pages;
	cache->pages = page;
	return page->bytes;
}

static struct pw_cached *set_of(const struct pw_cache *cache, uint64_t paddr)
{
	/* Fibonacci hashing: tables are often far apart by the same distance. */
	uint64_t hash = paddr / PW_CACHE_PAGE * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	return &cache->slots[(hash & (cache->sets - 1)) * WAYS];
}

/* The slot that a page has, or the one for it, whose bytes are NULL if there is no memory. */
static struct pw_cached *slot_of(struct pw_cache *cache, uint64_t paddr)
{
	struct pw_cached *set = set_of(cache, paddr);

	for (unsigned int way = 0; way < WAYS; way++) {
		if (!set[way].bytes) {
			set[way].bytes = new_page(cache);
			/* No page has this address. */
			set[way].paddr = UINT64_MAX;
			return &set[way];
		}
		if (set[way].paddr == paddr)
			return &set[way];
	}
	return &set[cache->victim++ % WAYS];
}

/* The slot of a page, read if it is not there. Returns 0 or a negative number of the callback. */
static int page_at(struct pw_cache *cache, uint64_t paddr, const struct pw_cached **ret)
{
	struct pw_cached *slot = slot_of(cache, paddr);
	const void *bytes;
	int err;

	if (slot->bytes && slot->paddr == paddr) {
		*ret = slot;
		return 0;
	}
	if (!slot->bytes) {
		/* Without memory the page is as good as unreadable, as in pw_walk(). */
		static const struct pw_cached nothing = { .kind = PW_UNREADABLE };

		*ret = &nothing;
		return 0;
	}
	/* An error below leaves an empty slot. */
	slot->paddr = UINT64_MAX;
	err = pw_fetch(cache->below, paddr, PW_CACHE_PAGE, slot->bytes, &bytes);
	if (err < 0)
		return err;
	if (!err && bytes != slot->bytes)
		memcpy(slot->bytes, bytes, PW_CACHE_PAGE);
	slot->kind = err;
	slot->paddr = paddr;
	*ret = slot;
	return 0;
}

static int read_cached(void *arg, uint64_t paddr, void *data, size_t length)
{
	unsigned char *to = data;

	if (length > UINT64_MAX - paddr)
		return PW_UNREADABLE;
	while (length) {
		uint64_t offset = paddr % PW_CACHE_PAGE;
		size_t part = length < PW_CACHE_PAGE - offset ? length : PW_CACHE_PAGE - offset;
		const struct pw_cached *page;
		int err = page_at(arg, paddr - offset, &page);

		if (err)
			return err;
		/* Linux uses no RAM that is less than a page, so there is no smaller read to try. */
		if (page->kind)
			return page->kind;
		memcpy(to, page->bytes + offset, part);
		to += part;
		paddr += part;
		length -= part;
	}
	return 0;
}

int pw_cache_fill(struct pw_cache *cache, uint64_t paddr, size_t pages)
{
	const size_t length = pages * PW_CACHE_PAGE;
	unsigned char *buffer = cache->below->read ? malloc(length) : NULL;
	const void *bytes;
	int err;

	if (!buffer)
		return 0;
	err = pw_fetch(cache->below, paddr, length, buffer, &bytes);
	for (size_t i = 0; !err && bytes == buffer && i < pages; i++) {
		struct pw_cached *slot = slot_of(cache, paddr + i * PW_CACHE_PAGE);

		if (!slot->bytes || slot->paddr == paddr + i * PW_CACHE_PAGE)
			continue;
		memcpy(slot->bytes, buffer + i * PW_CACHE_PAGE, PW_CACHE_PAGE);
		slot->paddr = paddr + i * PW_CACHE_PAGE;
		slot->kind = 0;
	}
	free(buffer);
	return err < 0 ? err : 0;
}

bool pw_cache_init(struct pw_cache *cache, const struct pw_memory *below, size_t pages)
{
	*cache = (struct pw_cache){ .memory = *below, .below = below, .sets = 1 };
	while (cache->sets * WAYS < pages)
		cache->sets *= 2;
	cache->slots = calloc(cache->sets * WAYS, sizeof(*cache->slots));
	cache->memory.read = read_cached;
	cache->memory.arg = cache;
	return cache->slots;
}

void pw_cache_deinit(struct pw_cache *cache)
{
	while (cache->pages) {
		struct pw_cache_page *page = cache->pages;

		cache->pages = page->next;
		free(page);
	}
	free(cache->slots);
}
