// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target (libFuzzer): any maple tree, list of VMAs or XArray.
 *
 * The input: what to read, limits, then words for four pages of physical memory, which are in the
 * direct map and, in another order and with a hole, in vmalloc memory. Most words are pointers into
 * these pages, so that trees lead somewhere: to themselves, too.
 *
 * Requirements: no crash; bounded work; the same result from direct memory and by callback; the same
 * as a slow and obvious walk (fuzz_structs_slow.c); no more walks than allowed while memory changes.
 */
#include "fuzz_structs.h"

#include <stdlib.h>
#include <string.h>

/* Page tables: PGD 402 leads to a table with pages 4, 6, none, 5. */
static void put_tables(struct world *world)
{
	static const uint64_t table[] = { 0x4001, 0x6001, 0, 0x5001 };
	const uint64_t down[] = { 0x1003, 0x2003, 0x3003 };

	memcpy(&world->pages[0][402 * 8], &down[0], 8);
	memcpy(&world->pages[1][0], &down[1], 8);
	memcpy(&world->pages[2][0], &down[2], 8);
	memcpy(&world->pages[3][0], table, sizeof(table));
}

static uint64_t take(struct input *input, size_t bytes)
{
	uint64_t number = 0;

	for (size_t i = 0; i < bytes && input->size; i++, input->size--)
		number |= (uint64_t)*input->data++ << 8 * i;
	return number;
}

static uint64_t take_word(struct input *input)
{
	const uint64_t kind = take(input, 1), number = take(input, 1);
	const uint64_t node = DIRECT + FIRST_PAGE * PAGE + number % 64 * 256;

	switch (kind % 16) {
	case 0: case 1: case 2:
		return node | 1 << 3 | 6;
	case 3: case 4:
		return node | 2 << 3 | 6;
	case 5: case 6:
		return node | 3 << 3 | 6;
	case 7: case 8:
		return (node + (kind / 16 & 3) * 64) | 2;
	case 9: case 10:
		return node + (kind / 16) * 16;
	case 11:
		return number << 2 | 2;			/* a sibling, or a reserved entry */
	case 12:
		return VMALLOC + (number << 6 & 0x3fc0) + (kind / 16);
	case 13:
		return number;
	case 14:
		return UINT64_MAX >> (number & 63);
	default:
		return take(input, 8);
	}
}

static void take_words(struct world *world, struct input *input)
{
	while (input->size) {
		const size_t node = take(input, 1) % 64, word = take(input, 1) % 32;
		const uint64_t value = take_word(input);

		memcpy(&world->pages[FIRST_PAGE][0] + node * 256 + word * 8, &value, 8);
	}
}

static int read_world(void *arg, uint64_t paddr, void *data, size_t length)
{
	struct world *world = arg;

	world->reads++;
	if (paddr >= sizeof(world->pages) || length > sizeof(world->pages) - paddr)
		return PW_UNREADABLE;
	for (uint64_t page = paddr / PAGE; page <= (paddr + length - 1) / PAGE; page++)
		if (world->excluded >> page & 1)
			return PW_EXCLUDED;
	if (world->changing && paddr >= FIRST_PAGE * PAGE) {
		unsigned char *byte = &world->pages[0][0] + paddr + world->reads * 8 % PAGE;

		*byte ^= (unsigned char)world->changing;
	}
	memcpy(data, &world->pages[0][0] + paddr, length);
	return 0;
}

static void use_direct(struct world *world)
{
	for (size_t page = 0; page < PAGES; page++)
		world->direct[page] = (struct pw_direct){
			page * PAGE, PAGE, world->excluded >> page & 1 ? NULL : world->pages[page],
		};
	world->memory = (struct pw_memory){ .direct = world->direct, .direct_count = PAGES };
}

static void use_callback(struct world *world)
{
	world->memory = (struct pw_memory){ .read = read_world, .arg = world };
}

static bool same_words(const struct pw_words *left, const struct pw_words *right)
{
	return left->count == right->count &&
	       (!left->count || !memcmp(left->words, right->words, left->count * sizeof(uint64_t)));
}

static void read_vmas(struct world *world, struct pw_vma_result *ret)
{
	const struct pw_column mms = { world->mms, world->mm_count, sizeof(*world->mms) };

	*ret = (struct pw_vma_result){ 0 };
	REQUIRE(!pw_vmas(&world->kernel, &mms, &world->layout, &world->limits, ret));
	REQUIRE(ret->mms.count == world->mm_count * PW_MM_WORDS);
}

/* What must be true of any result, also while memory changes. */
static void check_result(const struct world *world, const struct pw_vma_result *result)
{
	const size_t width = PW_VMA_WORDS + world->layout.fields.count;
	size_t vmas = 0, losses = 0;

	for (size_t i = 0; i < world->mm_count; i++) {
		const uint64_t *mm = &result->mms.words[i * PW_MM_WORDS];

		REQUIRE(mm[0] == world->mms[i] && mm[4] == vmas);
		REQUIRE(mm[7] <= 9);
		for (size_t k = 0; k < mm[5]; k++)
			REQUIRE(result->vmas.words[(vmas + k) * width] == i);
		vmas += mm[5];
		for (size_t k = 0; k < mm[6] && k < PW_LOSSES_KEPT; k++)
			REQUIRE(result->losses.words[losses++ * PW_LOSS_WORDS] == i);
	}
	REQUIRE(vmas <= world->limits.records);
	REQUIRE(result->vmas.count == vmas * width);
	REQUIRE(result->losses.count == losses * PW_LOSS_WORDS);
	REQUIRE(result->faults.count <= vmas * PW_FAULT_WORDS);
	for (size_t i = 0; i < result->faults.count; i += PW_FAULT_WORDS)
		REQUIRE(result->faults.words[i] < vmas);
}

static void check_vmas(struct world *world, bool changing)
{
	struct pw_vma_result by_callback, direct;

	use_callback(world);
	read_vmas(world, &by_callback);
	check_result(world, &by_callback);
	if (!changing) {
		use_direct(world);
		read_vmas(world, &direct);
		REQUIRE(same_words(&by_callback.mms, &direct.mms));
		REQUIRE(same_words(&by_callback.vmas, &direct.vmas));
		REQUIRE(same_words(&by_callback.faults, &direct.faults));
		REQUIRE(same_words(&by_callback.losses, &direct.losses));
		pw_vma_result_deinit(&direct);
		check_slow_vmas(world, &by_callback);
	}
	pw_vma_result_deinit(&by_callback);
}

static void check_xarray(struct world *world, struct input *input, bool changing)
{
	static const uint64_t steps[] = { 0, 64, 256, 4 };
	const uint64_t how = take(input, 1);
	const struct pw_xa_layout layout = { how & 4 ? 0 : 3, 8, UINT32_C(1) << (1 + how % 4) };
	const uint64_t step = steps[how >> 4 & 3], nodes = world->limits.nodes;
	const uint64_t most = world->limits.records, head = world->mms[0];
	struct pw_words by_callback = { 0 }, direct = { 0 };
	struct pw_losses losses[2] = { 0 };

	take_words(world, input);
	use_callback(world);
	REQUIRE(!pw_xarray(&world->kernel, head, &layout, step, nodes, most, &by_callback,
			   &losses[0]));
	REQUIRE(by_callback.count <= most * PW_RUN_WORDS);
	if (!changing) {
		use_direct(world);
		REQUIRE(!pw_xarray(&world->kernel, head, &layout, step, nodes, most, &direct,
				   &losses[1]));
		REQUIRE(same_words(&by_callback, &direct));
		REQUIRE(!memcmp(&losses[0], &losses[1], sizeof(losses[0])));
		check_slow_xarray(world, &layout, step, &direct, &losses[1]);
	}
	free(by_callback.words);
	free(direct.words);
}

static void take_layout(struct world *world, uint64_t how)
{
	world->layout = (struct pw_mm_layout){
		.pgd = 8, .map_count = 16, .first = 0, .list = how & 1, .next = 24,
		.range = { 8, 15, 128, 248 }, .arange = { 8, 9, 80, 240 },
		.fields = { { { 0, 8 }, { 12, 4 }, { 40, 1 }, { how & 2 ? 600 : 48, 2 } }, 4 },
	};
	if (how & 4)
		world->layout.range = (struct pw_maple_node){ 0, 3, 32, 70 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world world;
	struct input input = { data, size };
	const uint64_t what = take(&input, 1), how = take(&input, 1), changing = take(&input, 1);

	memset(world.pages[FIRST_PAGE], 0, (PAGES - FIRST_PAGE) * PAGE);
	put_tables(&world);
	world.reads = 0;
	world.excluded = (uint32_t)(how >> 4) << FIRST_PAGE & (how & 8 ? 0xf0 : 0);
	world.changing = what & 0x80 ? (unsigned int)changing : 0;
	world.limits = (struct pw_vma_limits){
		.still = what & 0x40,
		.nodes = 1 + take(&input, 1) % MOST,
		.vmas = 1 + take(&input, 1) % MOST,
		.records = 1 + take(&input, 1) % MOST,
	};
	world.mm_count = 1 + (what >> 4 & 3) % 3;
	for (size_t i = 0; i < world.mm_count; i++)
		world.mms[i] = DIRECT + FIRST_PAGE * PAGE + (how & 7 ? i * 256 : take(&input, 2));
	world.kernel = (struct pw_kernel){
		.paging = &world.paging, .memory = &world.memory, .roots = { 0, 0 },
		.direct_first = DIRECT, .direct_last = DIRECT + PAGES * PAGE - 1,
	};
	world.paging.form = &pw_x86_64_4_levels;
	if (what % 4 == 3) {
		check_xarray(&world, &input, world.changing);
		return 0;
	}
	take_layout(&world, how);
	take_words(&world, &input);
	check_vmas(&world, world.changing);
	return 0;
}
