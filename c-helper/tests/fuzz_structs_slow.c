// SPDX-License-Identifier: GPL-2.0-or-later
/* Slow and obvious walks: recursive, and without any set but arrays. */
#include "fuzz_structs.h"

#include <stdlib.h>
#include <string.h>

#define ROOM 4096

/* What a walk found. */
struct slow {
	const struct world *world;
	const struct pw_maple_node *range, *arange;
	uint64_t max_nodes, loss_count;
	size_t node_count, vma_count;
	bool stopped;
	/* What the counts above do not count is not initialised, to save time. */
	uint64_t nodes[MOST], vmas[ROOM];
	struct pw_loss losses[PW_LOSSES_KEPT];
};

/* The byte at a virtual address; NULL if it cannot be read. */
static const unsigned char *byte_at(const struct world *world, uint64_t address)
{
	static const int mapped[] = { 4, 6, -1, 5 };
	uint64_t page;

	if (address >= DIRECT && address < DIRECT + PAGES * PAGE)
		page = (address - DIRECT) / PAGE;
	else if (address >= VMALLOC && address < VMALLOC + 4 * PAGE &&
		 mapped[(address - VMALLOC) / PAGE] >= 0)
		page = (uint64_t)mapped[(address - VMALLOC) / PAGE];
	else
		return NULL;
	return world->excluded >> page & 1 ? NULL : &world->pages[page][address % PAGE];
}

/* Returns false and the address of the first byte that cannot be read. */
static bool get(const struct world *world, uint64_t address, size_t length, void *to,
		uint64_t *fault)
{
	for (size_t i = 0; i < length; i++) {
		const unsigned char *byte = byte_at(world, address + i);

		if (!byte) {
			*fault = address + i;
			return false;
		}
		((unsigned char *)to)[i] = *byte;
	}
	return true;
}

static void lose(struct slow *slow, uint64_t owner, unsigned int kind, uint64_t address,
		 uint64_t value)
{
	if (slow->loss_count < PW_LOSSES_KEPT)
		slow->losses[slow->loss_count] = (struct pw_loss){ owner, kind, address, value, 0 };
	slow->loss_count++;
}

static bool in(const uint64_t *numbers, size_t count, uint64_t number)
{
	while (count--) {
		if (numbers[count] == number)
			return true;
	}
	return false;
}

/* Whether a node is to be visited. */
static bool first_time(struct slow *slow, uint64_t owner, uint64_t address)
{
	if (in(slow->nodes, slow->node_count, address)) {
		lose(slow, owner, PW_LOSS_NODE_TWICE, address, 0);
		return false;
	}
	if (slow->node_count >= slow->max_nodes) {
		lose(slow, owner, PW_LOSS_NODES, address, slow->max_nodes);
		slow->stopped = true;
		return false;
	}
	slow->nodes[slow->node_count++] = address;
	return true;
}

static void add_vma(struct slow *slow, uint64_t vma)
{
	if (vma == 0 || vma == (257 << 2 | 2))
		return;
	if (in(slow->vmas, slow->vma_count, vma)) {
		lose(slow, 0, PW_LOSS_VMA_TWICE, vma, 0);
		return;
	}
	REQUIRE(slow->vma_count < ROOM);
	slow->vmas[slow->vma_count++] = vma;
}

static void maple(struct slow *slow, uint64_t entry, uint64_t last)
{
	const uint64_t address = entry / 256 * 256, type = entry / 8 % 16;
	const struct pw_maple_node *layout = type == 3 ? slow->arange : slow->range;
	unsigned char node[256];
	uint64_t pivots[32], slots[33], fault;
	size_t used = 0;

	if (slow->stopped || !first_time(slow, 0, address))
		return;
	if (type < 1 || type > 3) {
		lose(slow, 0, PW_LOSS_NODE_TYPE, address, type);
		return;
	}
	if (!get(slow->world, address, sizeof(node), node, &fault)) {
		lose(slow, 0, PW_LOSS_NODE, address, fault);
		return;
	}
	memcpy(pivots, node + layout->pivot, layout->pivots * 8);
	memcpy(slots, node + layout->slot, (layout->pivots + 1) * 8);
	/* ma_data_end() of lib/maple_tree.c */
	if (type == 3 || !pivots[layout->pivots - 1])
		used = (size_t)node[layout->end] + 1;
	else if (pivots[layout->pivots - 1] == last)
		used = layout->pivots;
	else
		used = layout->pivots + 1;
	if (used > layout->pivots + 1)
		used = layout->pivots + 1;
	for (size_t i = 0; i < used; i++) {
		if (type == 1)
			add_vma(slow, slots[i]);
		else if (slots[i])
			maple(slow, slots[i], i + 1 < used ? pivots[i] : last);
	}
}

static void list(struct slow *slow, uint64_t vma)
{
	while (vma) {
		const uint64_t link = vma + slow->world->layout.next;
		uint64_t next, fault;

		if (in(slow->vmas, slow->vma_count, vma)) {
			lose(slow, 0, PW_LOSS_CIRCLE, vma, 0);
			return;
		}
		if (slow->vma_count >= slow->world->limits.vmas) {
			lose(slow, 0, PW_LOSS_VMAS, vma, slow->vma_count);
			return;
		}
		slow->vmas[slow->vma_count++] = vma;
		if (!get(slow->world, link, 8, &next, &fault)) {
			lose(slow, 0, PW_LOSS_LINK, vma, fault);
			return;
		}
		vma = next;
	}
}

static void check_losses(const struct slow *slow, const uint64_t *words, uint64_t count)
{
	REQUIRE(slow->loss_count == count);
	for (size_t i = 0; i < PW_LOSSES_KEPT && i < count; i++) {
		REQUIRE(words[i * PW_LOSS_WORDS + 1] == slow->losses[i].kind);
		REQUIRE(words[i * PW_LOSS_WORDS + 2] == slow->losses[i].address);
		REQUIRE(words[i * PW_LOSS_WORDS + 3] == slow->losses[i].value);
	}
}

/* The fields of the VMAs from a row on. A fault is that of the first field that cannot be read. */
static void check_fields(const struct slow *slow, const struct pw_vma_result *result, size_t row,
			 size_t *next_fault)
{
	const struct pw_fields *fields = &slow->world->layout.fields;
	const size_t width = PW_VMA_WORDS + fields->count;

	for (size_t i = 0; i < slow->vma_count; i++, row++) {
		const uint64_t *words = &result->vmas.words[row * width];
		bool good = true;

		REQUIRE(words[1] == slow->vmas[i]);
		for (size_t k = 0; k < fields->count; k++) {
			uint64_t value = 0, fault;
			const uint64_t at = slow->vmas[i] + fields->field[k].offset;

			if (!get(slow->world, at, fields->field[k].bytes, &value, &fault)) {
				const uint64_t *found = &result->faults.words[*next_fault];

				if (good)
					REQUIRE(found[0] == row && found[1] == fault);
				good = false;
				value = 0;
			}
			REQUIRE(words[PW_VMA_WORDS + k] == value);
		}
		*next_fault += good ? 0 : PW_FAULT_WORDS;
	}
}

void check_slow_vmas(const struct world *world, const struct pw_vma_result *result)
{
	static struct slow slow;
	const struct pw_mm_layout *layout = &world->layout;
	size_t row = 0, loss = 0, next_fault = 0;

	for (size_t i = 0; i < world->mm_count; i++) {
		const uint64_t *mm = &result->mms.words[i * PW_MM_WORDS];
		const uint64_t room = world->limits.records - row;
		uint64_t pgd, first, fault;
		int32_t count;

		memset(&slow, 0, offsetof(struct slow, nodes));
		slow.world = world;
		slow.range = &layout->range;
		slow.arange = &layout->arange;
		slow.max_nodes = world->limits.nodes;
		if (!get(world, mm[0] + layout->map_count, 4, &count, &fault) ||
		    !get(world, mm[0] + layout->pgd, 8, &pgd, &fault)) {
			lose(&slow, 0, PW_LOSS_MM, mm[0], fault);
		} else {
			if (!get(world, mm[0] + layout->first, 8, &first, &fault))
				lose(&slow, 0, PW_LOSS_ROOT, fault, fault);
			else if (layout->list)
				list(&slow, first);
			else if (first % 4 == 2 && first > 4096)
				maple(&slow, first, UINT64_MAX);
			else
				add_vma(&slow, first);
			if (count > 0 && slow.vma_count < (uint32_t)count)
				lose(&slow, 0, PW_LOSS_MAP_COUNT, slow.vma_count, (uint64_t)count);
			if (slow.vma_count > room) {
				lose(&slow, 0, PW_LOSS_VMAS, slow.vmas[room], room);
				slow.vma_count = (size_t)room;
			}
		}
		REQUIRE(mm[5] == slow.vma_count);
		check_losses(&slow, mm[6] ? result->losses.words + loss : NULL, mm[6]);
		loss += (mm[6] < PW_LOSSES_KEPT ? (size_t)mm[6] : PW_LOSSES_KEPT) * PW_LOSS_WORDS;
		check_fields(&slow, result, row, &next_fault);
		row += slow.vma_count;
	}
	REQUIRE(next_fault == result->faults.count);
}

/* An XArray without runs: an entry for each index range, as xa_for_each() with siblings. */
struct slow_xa {
	struct slow slow;
	const struct pw_xa_layout *layout;
	uint64_t entries[ROOM][3];
	size_t entry_count;
};

static void add_entry(struct slow_xa *xa, uint64_t index, uint64_t count, uint64_t entry)
{
	REQUIRE(xa->entry_count < ROOM);
	xa->entries[xa->entry_count][0] = index;
	xa->entries[xa->entry_count][1] = count;
	xa->entries[xa->entry_count++][2] = entry;
}

static void xa_node(struct slow_xa *xa, uint64_t address, uint64_t first, int wanted)
{
	const uint32_t slots = xa->layout->count, end = xa->layout->slots + slots * 8;
	const int bits = __builtin_ctz(slots);
	unsigned char node[8 + PW_MAX_XA_SLOTS * 8];
	uint64_t fault;
	int shift;

	if (!first_time(&xa->slow, first, address))
		return;
	if (!get(xa->slow.world, address, end, node, &fault)) {
		lose(&xa->slow, first, PW_LOSS_NODE, address, fault);
		return;
	}
	shift = node[xa->layout->shift];
	if (shift % bits || shift >= 64 || (wanted >= 0 && shift != wanted)) {
		lose(&xa->slow, first, PW_LOSS_NODE_SHIFT, address, (uint64_t)shift);
		return;
	}
	for (uint32_t i = 0; i < slots; i++) {
		const unsigned __int128 index = first + ((unsigned __int128)i << shift);
		unsigned __int128 beyond;
		uint64_t entry, next;
		uint32_t k;

		memcpy(&entry, node + xa->layout->slots + i * 8, 8);
		if (!entry || entry == (257 << 2 | 2) || (entry % 4 == 2 && entry < 256))
			continue;
		if (index > UINT64_MAX) {
			lose(&xa->slow, UINT64_MAX, PW_LOSS_INDEX, entry, i);
		} else if (entry % 4 == 2 && entry > 4096) {
			if (!shift)
				lose(&xa->slow, (uint64_t)index, PW_LOSS_ENTRY, 0, entry);
			else
				xa_node(xa, entry - 2, (uint64_t)index, shift - bits);
		} else {
			for (k = i + 1; k < slots; k++) {
				memcpy(&next, node + xa->layout->slots + k * 8, 8);
				if (next != (i << 2 | 2))
					break;
			}
			beyond = first + ((unsigned __int128)k << shift);
			if (beyond > UINT64_MAX)
				beyond = (unsigned __int128)1 << 64;
			beyond -= index;
			add_entry(xa, (uint64_t)index,
				  beyond > UINT64_MAX ? UINT64_MAX : (uint64_t)beyond, entry);
		}
	}
}

void check_slow_xarray(const struct world *world, const struct pw_xa_layout *layout, uint64_t step,
		       const struct pw_words *runs, const struct pw_losses *losses)
{
	static struct slow_xa xa;
	uint64_t head, fault;
	size_t at = 0;

	memset(&xa.slow, 0, offsetof(struct slow, nodes));
	xa.slow.world = world;
	xa.slow.max_nodes = world->limits.nodes;
	xa.layout = layout;
	xa.entry_count = 0;
	if (!get(world, world->mms[0], 8, &head, &fault))
		lose(&xa.slow, 0, PW_LOSS_ROOT, world->mms[0], fault);
	else if (head % 4 == 2 && head > 4096)
		xa_node(&xa, head - 2, 0, -1);
	else if (head && head != (257 << 2 | 2))
		add_entry(&xa, 0, 1, head);
	/* A limit of runs ends the walk early. */
	if (runs->count / PW_RUN_WORDS < world->limits.records) {
		REQUIRE(losses->count == xa.slow.loss_count);
		for (size_t i = 0; i < PW_LOSSES_KEPT && i < losses->count; i++) {
			REQUIRE(losses->kept[i].owner == xa.slow.losses[i].owner);
			REQUIRE(losses->kept[i].kind == xa.slow.losses[i].kind);
			REQUIRE(losses->kept[i].address == xa.slow.losses[i].address);
			REQUIRE(losses->kept[i].value == xa.slow.losses[i].value);
		}
	}
	/* Each run is the entries that it is made of. */
	for (size_t i = 0; i < runs->count; i += PW_RUN_WORDS) {
		const uint64_t *run = &runs->words[i];
		uint64_t done = 0;

		do {
			REQUIRE(at < xa.entry_count);
			REQUIRE(xa.entries[at][0] == run[0] + done);
			REQUIRE(xa.entries[at][2] == run[2] + done * step);
			done += xa.entries[at++][1];
		} while (done < run[1]);
		REQUIRE(done == run[1]);
		/* Nothing that could be part of it is left. */
		if (i && step && !((run[2] | run[-1]) & 3))
			REQUIRE(run[0] != run[-3] + run[-2] || run[2] != run[-1] + run[-2] * step ||
				run[1] > UINT64_MAX - run[-2]);
	}
	REQUIRE(at == xa.entry_count || runs->count / PW_RUN_WORDS == world->limits.records);
}
