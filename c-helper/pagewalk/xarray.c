// SPDX-License-Identifier: GPL-2.0-or-later
/* The entries of an XArray, with one read for each node. */
#include <stdlib.h>

#include "structs_internal.h"

#define LAST_SIBLING 256
/* A level is one bit of the index at least. */
#define MAX_LEVELS 64
#define NODE_ROOM 1024

/* A node on the way down. */
struct level {
	uint64_t slots[PW_MAX_XA_SLOTS];
	uint64_t first;			/* index of slot 0 */
	unsigned int shift;
	unsigned int next;		/* the slot to look at next */
};

struct xarray {
	const struct pw_xa_layout *layout;
	uint64_t step, max_nodes, max_runs, nodes;
	unsigned int bits;		/* XA_CHUNK_SHIFT */
	size_t span;			/* bytes of a node that are read */
	struct pw_reader reader;
	struct pw_seen seen;
	struct pw_words *runs;
	struct pw_losses *losses;
	bool full;			/* max_runs was reached */
	unsigned int depth;
	struct level levels[MAX_LEVELS];
};

static bool is_sibling(uint64_t entry)
{
	return (entry & 3) == 2 && entry < LAST_SIBLING;
}

static int lose(struct xarray *xa, enum pw_loss_kind kind, uint64_t index, uint64_t address,
		uint64_t value, int reason)
{
	pw_losses_add(xa->losses, &(struct pw_loss){ index, kind, address, value,
						     (uint64_t)reason });
	return PW_OK;
}

/* Add an entry for count indices. */
static int add(struct xarray *xa, uint64_t index, uint64_t count, uint64_t entry)
{
	uint64_t *run = xa->runs->count ? &xa->runs->words[xa->runs->count - PW_RUN_WORDS] : NULL;

	if (run && xa->step && !((entry | run[2]) & 3) && index - run[0] == run[1] &&
	    entry == run[2] + run[1] * xa->step && count <= UINT64_MAX - run[1]) {
		run[1] += count;
		return PW_OK;
	}
	if (xa->runs->count / PW_RUN_WORDS >= xa->max_runs) {
		xa->full = true;
		return lose(xa, PW_LOSS_VMAS, index, 0, xa->max_runs, 0);
	}
	run = pw_words_add(xa->runs, PW_RUN_WORDS);
	if (!run)
		return PW_NO_MEMORY;
	run[0] = index;
	run[1] = count;
	run[2] = entry;
	return PW_OK;
}

/*
 * Go down into a node. wanted: its shift, -1 for any. Returns 0 also if it is skipped.
 * xas_create() of lib/xarray.c creates every level, so a node has the shift of its level.
 */
static int enter(struct xarray *xa, uint64_t address, uint64_t first, int wanted)
{
	struct level *level = &xa->levels[xa->depth];
	unsigned char buffer[NODE_ROOM];
	const void *node;
	uint64_t fault;
	unsigned int shift;
	int err;

	/* Bit 0 is free: an entry of a node ends in binary 10. */
	if (pw_seen_find(&xa->seen, address | 1))
		return lose(xa, PW_LOSS_NODE_TWICE, first, address, 0, 0);
	if (xa->nodes >= xa->max_nodes)
		return lose(xa, PW_LOSS_NODES, first, address, xa->max_nodes, 0);
	xa->nodes++;
	if (!pw_seen_add(&xa->seen, address | 1, 0))
		return PW_NO_MEMORY;
	err = pw_read_virtual(&xa->reader, address, xa->span, buffer, &node, &fault);
	if (err < 0)
		return err;
	if (err)
		return lose(xa, PW_LOSS_NODE, first, address, fault, err);
	shift = ((const unsigned char *)node)[xa->layout->shift];
	if (shift % xa->bits || (wanted >= 0 ? shift != (unsigned int)wanted : shift >= 64))
		return lose(xa, PW_LOSS_NODE_SHIFT, first, address, shift, 0);
	for (unsigned int i = 0; i < xa->layout->count; i++)
		level->slots[i] = pw_load((const char *)node + xa->layout->slots, i);
	level->first = first;
	level->shift = shift;
	level->next = 0;
	xa->depth++;
	return PW_OK;
}

/* The number of indices of the entry in a slot: its own, and those of its siblings. */
static uint64_t indices_of(const struct xarray *xa, const struct level *level, unsigned int slot)
{
	const uint64_t sibling = (uint64_t)slot << 2 | 2;
	const uint64_t most = UINT64_MAX >> level->shift;
	unsigned int end = slot + 1;

	while (end < xa->layout->count && end <= most && level->slots[end] == sibling)
		end++;
	/* Only all of 2^64 indices are one more than fits. */
	if (level->shift && end - slot > most)
		return UINT64_MAX;
	return (uint64_t)(end - slot) << level->shift;
}

/* Look at the next slot of the deepest node. */
static int next_slot(struct xarray *xa)
{
	struct level *level = &xa->levels[xa->depth - 1];
	const unsigned int slot = level->next++;
	uint64_t entry, index;

	if (slot >= xa->layout->count) {
		xa->depth--;
		return PW_OK;
	}
	entry = level->slots[slot];
	if (!entry || entry == PW_XA_ZERO_ENTRY || is_sibling(entry))
		return PW_OK;
	if (slot > UINT64_MAX >> level->shift)
		return lose(xa, PW_LOSS_INDEX, UINT64_MAX, entry, slot, 0);
	index = level->first + ((uint64_t)slot << level->shift);
	if (!pw_xa_is_node(entry))
		return add(xa, index, indices_of(xa, level, slot), entry);
	if (!level->shift)
		return lose(xa, PW_LOSS_ENTRY, index, 0, entry, 0);
	return enter(xa, entry - 2, index, (int)(level->shift - xa->bits));
}

static int walk(struct xarray *xa, uint64_t head)
{
	unsigned char buffer[8];
	const void *bytes;
	uint64_t fault, entry;
	int err = pw_read_virtual(&xa->reader, head, sizeof(buffer), buffer, &bytes, &fault);

	if (err < 0)
		return err;
	if (err)
		return lose(xa, PW_LOSS_ROOT, 0, head, fault, err);
	entry = pw_load(bytes, 0);
	if (!pw_xa_is_node(entry))
		return entry && entry != PW_XA_ZERO_ENTRY ? add(xa, 0, 1, entry) : PW_OK;
	err = enter(xa, entry - 2, 0, -1);
	while (!err && xa->depth && !xa->full)
		err = next_slot(xa);
	return err;
}

static unsigned int log2_of(uint32_t number)
{
	unsigned int bits = 0;

	while (number >> (bits + 1))
		bits++;
	return bits;
}

int pw_xarray(const struct pw_kernel *kernel, uint64_t head, const struct pw_xa_layout *layout,
	      uint64_t step, uint64_t max_nodes, uint64_t max_runs, struct pw_words *runs,
	      struct pw_losses *losses)
{
	const uint32_t end = layout->slots + 8 * layout->count;
	struct xarray *xa;
	int err;

	if (!pw_kernel_valid(kernel) || layout->count < 2 || layout->count > PW_MAX_XA_SLOTS ||
	    (layout->count & (layout->count - 1)) || layout->shift >= NODE_ROOM ||
	    layout->slots >= NODE_ROOM || end > NODE_ROOM)
		return PW_BAD_ARGUMENT;
	xa = calloc(1, sizeof(*xa));
	if (!xa)
		return PW_NO_MEMORY;
	xa->layout = layout;
	xa->step = step;
	xa->max_nodes = max_nodes ? max_nodes : PW_MAX_XA_NODES;
	xa->max_runs = max_runs ? max_runs : PW_MAX_RUNS;
	xa->bits = log2_of(layout->count);
	xa->span = layout->shift >= end ? layout->shift + 1 : end;
	xa->runs = runs;
	xa->losses = losses;
	err = pw_reader_init(&xa->reader, kernel) ? walk(xa, head) : PW_NO_MEMORY;
	pw_reader_deinit(&xa->reader);
	pw_seen_deinit(&xa->seen);
	free(xa);
	return err;
}
