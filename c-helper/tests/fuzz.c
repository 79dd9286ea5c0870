// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target (libFuzzer): any tables, any address, any paging, any form.
 *
 * The input: paging, options, an address, a length, then tables (fuzz_world.h).
 *
 * Requirements: no crash; at most one read per level for a walk, bounded entries for a sweep;
 * ranges in order and apart; the ranges cover all canonical addresses; a sweep, merged or not, from
 * direct mappings or by callback, reports for an address what the walk reports; accounts are what
 * a sweep counts; an index of some frames finds what an index of all finds.
 */
#include "fuzz_world.h"

#define PROBES 8

/* The state of the checks of one sweep. */
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
		return;			/* reported at its first place */
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
		int half = checks->world->paging.form->half_bits;
		uint64_t first = checks->next;

		REQUIRE(range->start <= range->last);
		/* Only the hole between the halves is skipped. */
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
	/* With sharing each table is walked once per level, and the root once per half. */
	if (options->shared_once && !options->shared_by_rights)
		REQUIRE(stats.tables - stats.gaps <=
			(world->paging.form == &world->form.form ? 5 * PAGES * 16 : 5 * PAGES) + 4 * 2);
	return checks.digest + stats.entries;
}

static void check_index(struct world *world, const struct pw_sweep_options *options,
			const struct pw_walk *walk)
{
	const unsigned int shift = world->paging.form->page_shift;
	struct pw_index *index = pw_index_create();
	struct pw_mapping mappings[256];
	struct pw_sweep_stats stats;
	int status;
	size_t found;

	REQUIRE(index);
	status = pw_index_add(index, 1, &world->paging, &world->memory, world->roots, options->first,
			      options->last, options->max_entries, &stats);
	REQUIRE(!pw_index_finish(index));
	found = pw_index_lookup(index, walk->paddr >> shift, 256, mappings);
	for (size_t i = 0; i < found && i < 256; i++) {
		struct pw_walk again;

		REQUIRE(!pw_walk(&world->paging, &world->memory, world->roots, mappings[i].address,
				 &again));
		REQUIRE(again.paddr >> shift == walk->paddr >> shift);
		REQUIRE(again.rights == mappings[i].rights);
		REQUIRE(again.memory_type == mappings[i].memory_type);
		REQUIRE(!i || mappings[i].address > mappings[i - 1].address);
	}
	if (status == PW_OK && found <= 256) {
		bool there = false;

		for (size_t i = 0; i < found; i++)
			there |= mappings[i].address == (walk->address >> shift << shift);
		REQUIRE(there);
	}
	pw_index_destroy(index);
}

/* An index of some frames finds what the index of all finds. */
static void check_wanted(struct world *world, const struct pw_sweep_options *options, uint64_t pfn)
{
	const uint64_t wanted[] = { pfn, 3, pfn ^ 1, 3 };
	struct pw_index *all = pw_index_create();
	struct pw_mapping expected[64], got[64];

	REQUIRE(all);
	REQUIRE(pw_index_add(all, 1, &world->paging, &world->memory, world->roots, options->first,
			     options->last, options->max_entries, NULL) <= PW_TOO_MUCH_WORK);
	REQUIRE(!pw_index_finish(all));
	for (size_t count = 1; count <= 4; count += 3) {
		struct pw_index *some = pw_index_create_wanted(wanted, count);
		size_t found;

		REQUIRE(some);
		REQUIRE(pw_index_add(some, 1, &world->paging, &world->memory, world->roots,
				     options->first, options->last, options->max_entries, NULL) <=
			PW_TOO_MUCH_WORK);
		REQUIRE(!pw_index_finish(some));
		found = pw_index_lookup(all, pfn, 64, expected);
		REQUIRE(pw_index_lookup(some, pfn, 64, got) == found);
		for (size_t i = 0; i < found && found <= 64; i++)
			REQUIRE(got[i].address == expected[i].address &&
				got[i].level == expected[i].level &&
				got[i].rights == expected[i].rights &&
				got[i].memory_type == expected[i].memory_type);
		pw_index_destroy(some);
	}
	pw_index_destroy(all);
}

#define FRAMES 80

struct counted {
	const struct world *world;
	uint64_t special;
	uint8_t uses[FRAMES], counts[FRAMES];
};

/* Count the slow way, from a range per entry. */
static int count_ranges(void *arg, const struct pw_range *ranges, size_t count)
{
	struct counted *counted = arg;
	const unsigned int shift = counted->world->paging.form->page_shift;

	for (size_t i = 0; i < count; i++) {
		const struct pw_range *range = &ranges[i];
		bool special = range->entry & counted->special;
		uint64_t pages = ((range->last - range->start) >> shift) + 1;

		for (uint64_t k = 0; pw_names_frame(range->kind) && k < pages; k++) {
			uint64_t pfn = (range->paddr >> shift) + k;

			if (pfn >= FRAMES)
				break;
			counted->uses[pfn] |= (uint8_t)(1u << range->memory_type) |
					      (special ? PW_USE_SPECIAL : PW_USE_NORMAL);
			counted->counts[pfn] += range->level == 1 && !special &&
						counted->counts[pfn] < UINT8_MAX;
		}
	}
	return 0;
}

static int ignore_ranges(void *arg, const struct pw_range *ranges, size_t count)
{
	(void)arg;
	(void)ranges;
	(void)count;
	return 0;
}

static void check_account(struct world *world, const struct pw_sweep_options *options)
{
	const uint64_t within = (UINT64_C(1) << world->paging.form->page_shift) - 1;
	const uint64_t special = world->paging.form->ignorable & -world->paging.form->ignorable;
	struct counted expected = { .world = world, .special = special }, got = { 0 };
	const struct pw_account account = { FRAMES, got.uses, got.counts, NULL, 0, special,
					    options->merge == PW_MERGE_LIKE };
	struct pw_sweep_options slow = *options;
	struct pw_sweep_stats stats, counted;
	int status;

	slow.first &= ~within;
	slow.last |= within;
	slow.merge = PW_MERGE_NOTHING;
	slow.shared_once = true;
	slow.shared_by_rights = false;
	status = pw_sweep(&world->paging, &world->memory, world->roots, &slow, count_ranges,
			  &expected, &stats);
	REQUIRE(pw_account_add(&account, &world->paging, &world->memory, world->roots, slow.first,
			       slow.last, slow.max_entries, ignore_ranges, NULL, &counted) ==
		status);
	REQUIRE(!memcmp(&stats, &counted, sizeof(stats)));
	REQUIRE(!memcmp(expected.uses, got.uses, FRAMES));
	REQUIRE(!memcmp(expected.counts, got.counts, FRAMES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Mostly small ones: a few entries show most bugs, and small runs are quick. */
	static const uint64_t bounds[] = { 40, 150, 600, 1500 };
	struct input input = { data, size };
	struct world *world = new_world();
	struct pw_sweep_options options = { 0 };
	struct pw_walk walk, direct;
	uint64_t address, length, how, by_callback;
	char text[300];

	if (!take_paging(world, &input))
		return -1;		/* not interesting */
	how = take(&input, 1);
	address = take(&input, 8);
	length = take(&input, 8);
	take_roots(world, &input, how & 32);
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
	check_account(world, &options);
	if (walk.paddr != PW_NO_PADDR) {
		check_index(world, &options, &walk);
		check_wanted(world, &options, walk.paddr >> world->paging.form->page_shift);
	}
	return 0;
}
