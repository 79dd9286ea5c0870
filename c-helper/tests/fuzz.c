// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target (libFuzzer): any tables, any address, any paging, any form.
 *
 * The input: paging (a form, C-bit, zero-filling, layout), options, an address, a length, then rows
 * of (page, index, entry) that are put into 16 pages of physical memory. The form is x86_64's or is
 * made from the input. Frame bits of an entry mostly point into these pages, so that tables lead
 * somewhere.
 *
 * Requirements: no crash; at most one read per level for a walk, bounded entries for a sweep;
 * ranges in order and apart; the ranges cover all canonical addresses; a sweep, merged or not, from
 * direct mappings or by callback, reports for an address what the walk reports.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "form.h"

#define PAGES 16
#define PAGE 4096
#define PROBES 8
#define RULES 5

struct input {
	const uint8_t *data;
	size_t size;
};

/* The next bytes as a number; zero after the end of the input. */
static uint64_t take(struct input *input, size_t bytes)
{
	uint64_t number = 0;

	for (size_t i = 0; i < bytes && input->size; i++, input->size--)
		number |= (uint64_t)*input->data++ << 8 * i;
	return number;
}

/* A form made from the input, with its lists. */
struct form {
	struct pw_form form;
	struct pw_rule rules[PW_MAX_LEVELS][RULES];
	struct pw_bit bits[2];
	struct pw_right rights[2][3];
};

struct world {
	unsigned char pages[PAGES][PAGE];
	uint32_t excluded;		/* bit n: page n was left out */
	uint32_t used;			/* bit n: page n holds entries */
	unsigned int reads;
	struct form form;
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

/* The one world, empty again. Clearing is most of a small run's time, so clear used pages only. */
static struct world *new_world(void)
{
	static struct world world;

	for (unsigned int page = 0; page < PAGES; page++)
		if (world.used >> page & 1)
			memset(world.pages[page], 0, PAGE);
	memset(&world.excluded, 0, sizeof(world) - offsetof(struct world, excluded));
	return &world;
}

/* One bit, mostly outside the address. */
static uint64_t take_bit(struct input *input)
{
	uint64_t number = take(input, 1);

	return UINT64_C(1) << (number >= 240 ? number & 63
					     : number & 8 ? 63 - (number & 7) : number & 7);
}

static void take_level(struct form *form, struct input *input, unsigned int depth)
{
	struct pw_level *level = &form->form.level[depth];
	uint64_t how = take(input, 1);

	level->name = "L";
	level->index_bits = (uint8_t)(1 + how % 9);
	level->rules = form->rules[depth];
	level->table_bits = level->other_bits = form->bits;
	for (unsigned int i = 0; i < 3; i++)
		level->type_bits[i] = how & 128 ? take_bit(input) : 0;
	for (unsigned int i = 0; i < RULES - 1; i++) {
		struct pw_rule *rule = &form->rules[depth][i];
		uint64_t kind = take(input, 1);

		/* Bits 0 and 1 are the likely ones: tables, then leaves, then others. */
		rule->mask = kind & 128 ? take_bit(input) | take_bit(input) : 3;
		rule->value = rule->mask & (kind & 64 ? take_bit(input) : i + 1);
		if (!rule->value && (kind & 0xc7) != 0xc0)
			rule->value = rule->mask & -rule->mask;
		rule->reserved = kind & 32 ? take_bit(input) : 0;
		rule->inverted = kind & 16;
		rule->kind = (uint8_t)(kind & 8 ? take(input, 1) % 16 : i ? PW_LEAF : PW_TABLE);
		if (rule->kind == PW_TABLE && depth + 1 == form->form.levels)
			rule->kind = PW_LEAF;
	}
	form->rules[depth][RULES - 1].kind = how & 64 ? PW_SWAP : PW_NONE;
}

/* Where the address is: in place, shifted as on riscv, or with high bits elsewhere as on arm64. */
static void take_address(struct pw_form *form, struct input *input)
{
	uint64_t how = take(input, 1);

	form->page_shift = (uint8_t)(12 + (how & 3));
	form->address_mask = (UINT64_C(1) << 48) - (UINT64_C(1) << form->page_shift);
	form->root_mask = how & 4 ? form->address_mask : UINT64_C(0xffffffffffc0);
	if (how & 8) {
		form->address_shift = 2;
		form->address_mask >>= 2;
	}
	if (how & 16) {
		form->high_mask = 0x300;
		form->high_shift = 40;
	}
	/* A table that is not aligned may be there in part: walk and sweep then differ. */
	if ((how & 0xe0) == 0xa0)
		form->address_mask ^= take_bit(input) & -(UINT64_C(1) << form->page_shift);
	if ((how & 0xe0) == 0xe0)
		form->high_mask ^= take_bit(input);
}

/* Make a form from the input. Returns false if pw_form_error() refuses it. */
static bool take_form(struct form *form, struct input *input)
{
	struct pw_form *to = &form->form;
	uint64_t how = take(input, 1), rights = take(input, 1);
	const struct pw_level *level_in_error;
	unsigned int shift;

	to->name = "fuzz";
	to->levels = (uint8_t)(1 + how % 5);
	take_address(to, input);
	form->bits[0] = (struct pw_bit){ 1, 1, "V", 0 };
	to->rights = PW_WRITE | PW_EXECUTE | PW_USER | (rights & 1 ? PW_USER_EXECUTE : 0);
	to->table_rights = form->rights[0];
	to->leaf_rights = form->rights[1];
	for (unsigned int i = 0; i < 4; i++) {
		struct pw_right *right = &form->rights[i / 2][i % 2];

		right->right = (uint8_t[]){ PW_WRITE, PW_USER, PW_EXECUTE,
					    to->rights & PW_USER_EXECUTE }[rights >> (1 + i) & 3];
		right->mask = take_bit(input);
		right->value = rights & 64 ? right->mask : 0;
	}
	to->memory_types = PW_MAX_MEMORY_TYPES;
	for (unsigned int i = 0; i < PW_MAX_MEMORY_TYPES; i++)
		to->memory_type[i] = "T";
	to->ignorable = how & 128 ? take_bit(input) | take_bit(input) : 0;
	to->swap.type_shift = (uint8_t)(how & 31) + 27;
	to->swap.type_bits = 5;
	to->swap.offset_shift = 9;
	to->swap.offset_bits = 40;
	for (unsigned int depth = 0; depth < to->levels; depth++)
		take_level(form, input, depth);
	shift = to->page_shift;
	for (unsigned int number = 1; number <= to->levels; number++) {
		struct pw_level *level = &to->level[to->levels - number];

		level->number = (uint8_t)number;
		level->shift = (uint8_t)shift;
		shift += level->index_bits;
	}
	to->half_bits = (uint8_t)(shift - (how >> 6 & 1));
	return !pw_form_error(to, &level_in_error);
}

static bool take_paging(struct world *world, struct input *input)
{
	uint64_t flags = take(input, 1);
	uint64_t types = take(input, 4);

	world->paging.form = flags & 1 ? &pw_x86_64_5_levels : &pw_x86_64_4_levels;
	if (flags >> 7) {
		if (!take_form(&world->form, input))
			return false;
		world->paging.form = &world->form.form;
	}
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
	return true;
}

static void take_entries(struct world *world, struct input *input)
{
	while (input->size) {
		uint64_t where = take(input, 3), entry = take(input, 8);
		unsigned int page = where & 0xf, index = where >> 4 & 511, count = 1;

		world->used |= 1u << page;

		if (where >> 13 & 1)	/* point into the pages */
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
	world->roots[0] = take(&input, 8);
	world->roots[1] = how & 32 ? take(&input, 2) : world->roots[0];
	for (unsigned int half = 0; half < 2; half++)
		world->roots[half] &= -(UINT64_C(8) << world->paging.form->level[0].index_bits);
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
