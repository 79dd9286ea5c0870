// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target (libFuzzer): any tables, any address, any paging.
 *
 * The input: paging (4 or 5 levels, C-bit, zero-filling, layout), options, an address, a length,
 * then rows of (page, index, entry) that are put into 16 pages of physical memory. Frame bits of
 * an entry are mostly bent towards these pages, so that tables lead somewhere.
 *
 * What must hold: no crash; at most one read a level for a walk, bounded entries for a sweep;
 * ranges in order and apart; the ranges cover all that is canonical; a sweep, merged or not, from
 * direct mappings or by callback, says for an address what the walk says.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "pagewalk.h"

#define PAGES 16
#define PAGE 4096
#define PROBES 8

struct input {
	const uint8_t *data;
	size_t size;
};

/* The next bytes as a number; zero when the input is used up. */
static uint64_t take(struct input *input, size_t bytes)
{
	uint64_t number = 0;

	for (size_t i = 0; i < bytes && input->size; i++, input->size--)
		number |= (uint64_t)*input->data++ << 8 * i;
	return number;
}

struct world {
	unsigned char pages[PAGES][PAGE];
	uint32_t excluded;		/* bit n: page n was left out */
	uint32_t used;			/* bit n: page n holds entries */
	unsigned int reads;
	struct pw_paging paging;
	struct pw_swap_layout layout;
	struct pw_direct direct[PAGES];
	struct pw_memory memory;
	uint64_t roots[2];
};

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

static int read_world(void *arg, uint64_t paddr, void *data, size_t length)
{
	struct world *world = arg;

	world->reads++;
	if (paddr >= sizeof(world->pages) || length > sizeof(world->pages) - paddr)
		return PW_UNREADABLE;
	if (world->excluded >> (paddr / PAGE) & 1)
		return PW_EXCLUDED;
	memcpy(data, (unsigned char *)world->pages + paddr, length);
	return 0;
}

/* The one world, empty again. Only what was used is cleared: that is most of a small run's time. */
static struct world *new_world(void)
{
	static struct world world;

	for (unsigned int page = 0; page < PAGES; page++)
		if (world.used >> page & 1)
			memset(world.pages[page], 0, PAGE);
	memset(&world.excluded, 0, sizeof(world) - offsetof(struct world, excluded));
	return &world;
}

static void take_paging(struct world *world, struct input *input)
{
	uint64_t flags = take(input, 1);
	uint64_t types = take(input, 4);

	world->paging.form = flags & 1 ? &pw_x86_64_5_levels : &pw_x86_64_4_levels;
	world->paging.encrypt_mask = flags & 2 ? UINT64_C(1) << (12 + (flags >> 4) % 40) : 0;
	world->paging.zero_fills = flags & 4;
	world->paging.reserved_mask = types >> 30 & 1 ? UINT64_C(0x000ffffffffff000) &
							       -(UINT64_C(1) << (24 + (types >> 24 & 31))) &
							       ~world->paging.encrypt_mask
						     : 0;
	world->excluded = flags & 8 ? (uint32_t)take(input, 2) : 0;
	for (unsigned int i = 0; i < 8; i++)
		world->paging.memory_types[i] = (uint8_t)((types >> 3 * i & 7) % 6);
	if (types >> 31) {
		world->layout.hwpoison.first = (uint8_t)take(input, 1);
		world->layout.migration.first = (uint8_t)take(input, 1);
		world->layout.marker.first = (uint8_t)take(input, 1);
		world->layout.hwpoison.count = 1;
		world->layout.migration.count = 3;
		world->layout.marker.count = (uint8_t)take(input, 1);
		world->paging.swap = &world->layout;
	}
}

static void take_entries(struct world *world, struct input *input)
{
	while (input->size) {
		uint64_t where = take(input, 3), entry = take(input, 8);
		unsigned int page = where & 0xf, index = where >> 4 & 511, count = 1;

		world->used |= 1u << page;

		if (where >> 13 & 1)	/* the pages that there are */
			entry = (entry & ~UINT64_C(0x000fffffffff0000)) | (where >> 20 & 1 ? 0x67 : 0);
		if (where >> 14 & 1)	/* a run */
			count = 1 + (where >> 15 & 31) * 16;
		for (unsigned int i = 0; i < count && index + i < 512; i++) {
			uint64_t here = entry + (where >> 21 & 1 ? (uint64_t)i * PAGE : 0);

			memcpy(&world->pages[page][(index + i) * 8], &here, 8);
		}
	}
}

static void use_direct(struct world *world)
{
	for (unsigned int page = 0; page < PAGES; page++) {
		bool excluded = world->excluded >> page & 1;

		world->direct[page] = (struct pw_direct){
			(uint64_t)page * PAGE, PAGE, excluded ? NULL : world->pages[page],
		};
	}
	world->memory = (struct pw_memory){ .direct = world->direct, .direct_count = PAGES };
}

static void use_callback(struct world *world)
{
	world->memory = (struct pw_memory){ .read = read_world, .arg = world };
}

/* What a sweep is checked against while it goes on. */
struct checks {
	struct world *world;
	const struct pw_sweep_options *options;
	uint64_t next;			/* where the next range must begin, if nothing is skipped */
	uint64_t ranges;
	unsigned int probes;
	uint64_t digest;
};

static void agrees(const struct checks *checks, const struct pw_range *range, uint64_t address)
{
	struct world *world = checks->world;
	struct pw_walk walk;

	REQUIRE(!pw_walk(&world->paging, &world->memory, world->roots, address, &walk));
	if (range->kind == PW_TABLE)
		return;			/* what is below is said elsewhere */
	REQUIRE(walk.outcome == range->kind);
	REQUIRE(walk.rights == range->rights);
	if (!pw_names_frame(range->kind))
		return;
	REQUIRE(walk.step[walk.steps - 1].level == range->level);
	REQUIRE(walk.memory_type == range->memory_type);
	if (address == range->start || checks->options->merge != PW_MERGE_LIKE)
		REQUIRE(walk.paddr == range->paddr + (address - range->start));
}

static int check_ranges(void *arg, const struct pw_range *ranges, size_t count)
{
	struct checks *checks = arg;

	for (size_t i = 0; i < count; i++) {
		const struct pw_range *range = &ranges[i];
		int half = checks->world->paging.form == &pw_x86_64_5_levels ? 56 : 47;
		uint64_t first = checks->next;

		REQUIRE(range->start <= range->last);
		/* Over the hole, and only over it. */
		if (first >> half && first >> half != UINT64_MAX >> half)
			first = UINT64_MAX << half;
		REQUIRE(range->start == first);
		checks->next = range->last + 1;
		checks->ranges++;
		checks->digest = checks->digest * 31 + range->start + range->paddr + range->kind;
		if (checks->probes < PROBES) {
			checks->probes++;
			agrees(checks, range, range->start);
			agrees(checks, range, range->last);
			agrees(checks, range, range->start + (range->last - range->start) / 2);
		}
	}
	return 0;
}

static uint64_t sweep(struct world *world, const struct pw_sweep_options *options)
{
	struct checks checks = { .world = world, .options = options, .next = options->first };
	struct pw_sweep_stats stats;
	int status = pw_sweep(&world->paging, &world->memory, world->roots, options, check_ranges,
			      &checks, &stats);

	REQUIRE(status == PW_OK || status == PW_TOO_MUCH_WORK);
	REQUIRE(stats.entries <= options->max_entries);
	REQUIRE(checks.ranges <= stats.entries);
	if (status == PW_TOO_MUCH_WORK)
		REQUIRE(stats.entries == options->max_entries);
	/* With sharing each of the pages is walked once a level, and what leads nowhere once. */
	if (options->shared_once && !options->shared_by_rights)
		REQUIRE(stats.tables - stats.gaps <= 5 * PAGES + 4 * 2);
	return checks.digest + stats.entries;
}

static void check_index(struct world *world, const struct pw_sweep_options *options,
			const struct pw_walk *walk)
{
	struct pw_index *index = pw_index_create();
	struct pw_mapping mappings[256];
	struct pw_sweep_stats stats;
	int status;
	size_t found;

	REQUIRE(index);
	status = pw_index_add(index, 1, &world->paging, &world->memory, world->roots, options->first,
			      options->last, options->max_entries, &stats);
	REQUIRE(!pw_index_finish(index));
	found = pw_index_lookup(index, walk->paddr >> 12, 256, mappings);
	for (size_t i = 0; i < found && i < 256; i++) {
		struct pw_walk again;

		REQUIRE(!pw_walk(&world->paging, &world->memory, world->roots, mappings[i].address,
				 &again));
		REQUIRE(again.paddr >> 12 == walk->paddr >> 12);
		REQUIRE(again.rights == mappings[i].rights);
		REQUIRE(again.memory_type == mappings[i].memory_type);
		REQUIRE(!i || mappings[i].address > mappings[i - 1].address);
	}
	if (status == PW_OK && found <= 256) {
		bool there = false;

		for (size_t i = 0; i < found; i++)
			there |= mappings[i].address == (walk->address & -(uint64_t)PAGE);
		REQUIRE(there);
	}
	pw_index_destroy(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Mostly small ones: what goes wrong does so in few entries, and many runs are wanted. */
	static const uint64_t bounds[] = { 40, 150, 600, 1500 };
	struct input input = { data, size };
	struct world *world = new_world();
	struct pw_sweep_options options = { 0 };
	struct pw_walk walk, direct;
	uint64_t address, length, how, by_callback;
	char text[300];

	take_paging(world, &input);
	how = take(&input, 1);
	address = take(&input, 8);
	length = take(&input, 8);
	world->roots[0] = take(&input, 8);
	world->roots[1] = world->roots[0];
	take_entries(world, &input);

	use_callback(world);
	REQUIRE(!pw_walk(&world->paging, &world->memory, world->roots, address, &walk));
	REQUIRE(world->reads <= 2 * PW_MAX_LEVELS);
	for (unsigned int i = 0; i < walk.steps; i++)
		REQUIRE(pw_flag_names(&world->paging, &walk.step[i], sizeof(text), text) < 300);
	use_direct(world);
	REQUIRE(!pw_walk(&world->paging, &world->memory, world->roots, address, &direct));
	REQUIRE(walk.outcome == direct.outcome && walk.paddr == direct.paddr);

	options.first = address;
	options.last = address + length < address ? UINT64_MAX : address + length;
	options.merge = (uint8_t)(how % 3);
	options.shared_once = how & 4;
	options.shared_by_rights = how & 8;
	options.ignore = how & 16 ? UINT64_MAX : 0;
	options.max_entries = bounds[how >> 6 & 3];
	use_callback(world);
	by_callback = sweep(world, &options);
	use_direct(world);
	REQUIRE(sweep(world, &options) == by_callback);
	if (walk.paddr != PW_NO_PADDR)
		check_index(world, &options, &walk);
	return 0;
}
