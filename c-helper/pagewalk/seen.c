// SPDX-License-Identifier: GPL-2.0-or-later
/* Which tables were walked, and at which address first: a hash table with open addressing. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define FIRST_SLOTS 256
#define KEPT_SLOTS 8192

void pw_seen_init(struct pw_seen *seen)
{
	*seen = (struct pw_seen){ 0 };
}

void pw_seen_deinit(struct pw_seen *seen)
{
	free(seen->slots);
	pw_seen_init(seen);
}

void pw_seen_clear(struct pw_seen *seen)
{
	/* A large table is freed, because clearing it would cost more than growing again. */
	if (seen->slots && seen->mask < KEPT_SLOTS)
		memset(seen->slots, 0, (seen->mask + 1) * sizeof(*seen->slots));
	else
		pw_seen_deinit(seen);
	seen->used = 0;
}

/* The slot of a key, or the empty slot for it. The table is never full. */
static struct pw_seen_slot *slot_of(const struct pw_seen *seen, uint64_t key)
{
	/* Fibonacci hashing: the high bits are mixed best. */
	size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);

	for (;; at++) {
		struct pw_seen_slot *slot = &seen->slots[at & seen->mask];

		if (slot->key == key || !slot->key)
			return slot;
	}
}

const uint64_t *pw_seen_find(const struct pw_seen *seen, uint64_t key)
{
	const struct pw_seen_slot *slot;

	if (!seen->slots)
		return NULL;
	slot = slot_of(seen, key);
	return slot->key ? &slot->address : NULL;
}

static bool grow(struct pw_seen *seen)
{
	size_t slots = seen->slots ? (seen->mask + 1) * 2 : FIRST_SLOTS;
	struct pw_seen larger = { .slots = calloc(slots, sizeof(*larger.slots)), .mask = slots - 1 };

	if (!larger.slots)
		return false;
	for (size_t i = 0; seen->slots && i <= seen->mask; i++) {
		if (seen->slots[i].key)
			*slot_of(&larger, seen->slots[i].key) = seen->slots[i];
	}
	larger.used = seen->used;
	free(seen->slots);
	*seen = larger;
	return true;
}

bool pw_seen_add(struct pw_seen *seen, uint64_t key, uint64_t address)
{
	if ((!seen->slots || seen->used * 2 > seen->mask) && !grow(seen))
		return false;
	*slot_of(seen, key) = (struct pw_seen_slot){ key, address };
	seen->used++;
	return true;
}
