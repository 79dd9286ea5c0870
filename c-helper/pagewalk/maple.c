// SPDX-License-Identifier: GPL-2.0-or-later
/* A maple tree of VMAs (since Linux 6.1), with one read for each node. */
#include "structs_internal.h"

/* enum maple_type and the bits of a maple_enode (include/linux/maple_tree.h). */
#define LEAF 1
#define RANGE 2
#define ARANGE 3
#define TYPE_SHIFT 3
#define TYPE_MASK 0xf
#define NODE_BYTES 256

static unsigned int type_of(uint64_t entry)
{
	return entry >> TYPE_SHIFT & TYPE_MASK;
}

static uint64_t pivot_at(const unsigned char *node, const struct pw_maple_node *layout,
			 unsigned int i)
{
	return pw_load(node + layout->pivot, i);
}

/* The number of the last slot, as ma_data_end() of lib/maple_tree.c. */
static unsigned int data_end(const unsigned char *node, const struct pw_maple_node *layout,
			     unsigned int type, uint64_t last)
{
	const unsigned int full = layout->pivots;
	unsigned int end = node[layout->end];

	if (type != ARANGE) {
		const uint64_t pivot = pivot_at(node, layout, full - 1);

		/* A range node without an end is full, and the last pivot may be that of the node. */
		if (pivot)
			end = full - (pivot == last);
	}
	return end < full ? end : full;
}

static bool lose(struct pw_vma_walk *walk, enum pw_loss_kind kind, uint64_t address, uint64_t value,
		 int reason)
{
	pw_losses_add(walk->losses, &(struct pw_loss){ .kind = kind, .address = address,
						       .value = value,
						       .reason = (uint64_t)reason });
	return true;
}

/* Returns false if there is no memory. */
static bool found(struct pw_vma_walk *walk, uint64_t vma)
{
	if (!vma || vma == PW_XA_ZERO_ENTRY)
		return true;
	if (pw_seen_find(&walk->vmas, vma))
		return lose(walk, PW_LOSS_VMA_TWICE, vma, 0, 0);
	return pw_seen_add(&walk->vmas, vma, 0) && pw_words_push(walk->found, vma);
}

/* Take the slots of a node: VMAs are found, other nodes come next. */
static bool take_slots(struct pw_vma_walk *walk, const unsigned char *node,
		       const struct pw_maple_node *layout, unsigned int type, uint64_t last)
{
	const unsigned int end = data_end(node, layout, type, last);

	if (type == LEAF) {
		for (unsigned int i = 0; i <= end; i++) {
			if (!found(walk, pw_load(node + layout->slot, i)))
				return false;
		}
		return true;
	}
	/* The first one is taken from the stack next. */
	for (unsigned int i = end + 1; i--; ) {
		const uint64_t entry = pw_load(node + layout->slot, i);

		if (!entry)
			continue;
		pw_prefetch_virtual(walk->reader, entry & -(uint64_t)NODE_BYTES);
		if (!pw_words_push(&walk->todo, entry) ||
		    !pw_words_push(&walk->todo, i < end ? pivot_at(node, layout, i) : last))
			return false;
	}
	return true;
}

/* Returns 0, PW_NO_MEMORY or a negative number of the callback. */
static int visit(struct pw_vma_walk *walk, uint64_t entry, uint64_t last)
{
	const uint64_t address = entry & -(uint64_t)NODE_BYTES;
	const unsigned int type = type_of(entry);
	const struct pw_maple_node *layout = type == ARANGE ? &walk->layout->arange
							    : &walk->layout->range;
	unsigned char buffer[NODE_BYTES];
	const void *node;
	uint64_t fault;
	int err;

	if (type != LEAF && type != RANGE && type != ARANGE) {
		lose(walk, PW_LOSS_NODE_TYPE, address, type, 0);
		return PW_OK;
	}
	err = pw_read_virtual(walk->reader, address, NODE_BYTES, buffer, &node, &fault);
	if (err < 0)
		return err;
	if (err) {
		lose(walk, PW_LOSS_NODE, address, fault, err);
		return PW_OK;
	}
	return take_slots(walk, node, layout, type, last) ? PW_OK : PW_NO_MEMORY;
}

int pw_walk_maple(struct pw_vma_walk *walk, uint64_t root)
{
	uint64_t nodes = 0;

	pw_seen_clear(&walk->nodes);
	pw_seen_clear(&walk->vmas);
	walk->todo.count = 0;
	if (!pw_xa_is_node(root))
		return found(walk, root) ? PW_OK : PW_NO_MEMORY;
	if (!pw_words_push(&walk->todo, root) || !pw_words_push(&walk->todo, UINT64_MAX))
		return PW_NO_MEMORY;
	while (walk->todo.count) {
		const uint64_t last = walk->todo.words[--walk->todo.count];
		const uint64_t entry = walk->todo.words[--walk->todo.count];
		const uint64_t address = entry & -(uint64_t)NODE_BYTES;
		int err;

		/* Bit 0 is free in the key, which must not be 0. */
		if (pw_seen_find(&walk->nodes, address | 1)) {
			lose(walk, PW_LOSS_NODE_TWICE, address, 0, 0);
			continue;
		}
		if (nodes >= walk->max_nodes || !*walk->budget) {
			lose(walk, PW_LOSS_NODES, address, nodes, 0);
			break;
		}
		nodes++;
		--*walk->budget;
		if (!pw_seen_add(&walk->nodes, address | 1, 0))
			return PW_NO_MEMORY;
		err = visit(walk, entry, last);
		if (err)
			return err;
	}
	return PW_OK;
}

static bool fits(const struct pw_maple_node *layout)
{
	return layout->pivots && layout->pivots < NODE_BYTES / 8 &&
	       layout->pivot <= NODE_BYTES - 8 * layout->pivots &&
	       layout->slot <= NODE_BYTES - 8 * (layout->pivots + 1) && layout->end < NODE_BYTES;
}

bool pw_maple_valid(const struct pw_mm_layout *layout)
{
	return fits(&layout->range) && fits(&layout->arange);
}
