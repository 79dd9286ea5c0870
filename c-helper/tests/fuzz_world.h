/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz targets share: a world of tables that is made from the input.
 *
 * Paging (a form, C-bit, zero-filling, layout) and rows of (page, index, entry), which are put into
 * 16 pages of physical memory. The form is x86_64's or is made from the input. Frame bits of an entry
 * mostly point into these pages, so that tables lead somewhere.
 */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "form.h"

#define PAGES 16
#define PAGE 4096
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

/* The roots of both halves; a second one if the input has it. */
static void take_roots(struct world *world, struct input *input, bool second)
{
	world->roots[0] = take(input, 8);
	world->roots[1] = second ? take(input, 2) : world->roots[0];
	for (unsigned int half = 0; half < 2; half++)
		world->roots[half] &= -(UINT64_C(8) << world->paging.form->level[0].index_bits);
}

#endif
