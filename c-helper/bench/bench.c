// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine compared with the limit: memcpy of the same tables, from the same memory.
 *
 *   bench [MILLIONS-OF-PTES]      default 16; in address spaces of 2^18 PTEs each (1 GiB)
 *
 * The benchmark makes tables of known shapes: contiguous frames (one large file),
 * runs of 8 pages, and frames in random order (the worst case, nothing merges). Each figure is
 * the median of several rounds in the same process, with its ratio to memcpy.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "pagewalk.h"

#define ROUNDS 9
#define PAGE 4096
#define LEAVES 512			/* PTE tables of a space: 1 GiB */
#define TABLES (LEAVES + 3)		/* and its PGD, PUD, PMD */
#define FLAGS 0x8000000000000067	/* P RW US A D NX */
#define TABLE 0x67
#define FRAMES 0x200000
#define MOST_WANTED 4096

struct world {
	unsigned char *bytes;
	size_t length;
	unsigned int spaces;
	struct pw_direct direct;
	struct pw_memory memory;
	struct pw_paging paging;
	uint8_t *uses, *counts;		/* accounts of FRAMES frames */
	uint64_t checked;		/* a sum, so that the compiler cannot drop the work */
};

static void *must(void *pointer)
{
	if (!pointer) {
		fputs("bench: no memory\n", stderr);
		exit(2);
	}
	return pointer;
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static int by_size(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return a < b ? -1 : a > b;
}

static double median_seconds(void (*run)(struct world *world), struct world *world)
{
	double seconds[ROUNDS];

	run(world);			/* warm */
	for (unsigned int round = 0; round < ROUNDS; round++) {
		double start = now();

		run(world);
		seconds[round] = now() - start;
	}
	qsort(seconds, ROUNDS, sizeof(*seconds), by_size);
	return seconds[ROUNDS / 2];
}

static uint64_t random_frame(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state & 0x1fffff;	/* 8 GiB of memory */
}

/* Space n: the tables n * TABLES ...: PGD, PUD, PMD, then the PTE tables. run: pages, 0: all. */
static void fill(struct world *world, unsigned int run)
{
	for (unsigned int space = 0; space < world->spaces; space++) {
		uint64_t paddr = (uint64_t)space * TABLES * PAGE, frame = 0x100000;
		uint64_t *table = (uint64_t *)(void *)(world->bytes + paddr);

		table[0] = (paddr + PAGE) | TABLE;
		table[512] = (paddr + 2 * PAGE) | TABLE;
		for (unsigned int i = 0; i < LEAVES; i++)
			table[1024 + i] = (paddr + (3 + i) * PAGE) | TABLE;
		for (unsigned int i = 0; i < LEAVES * 512; i++) {
			if (run && i % run == 0)
				frame = random_frame();
			table[1536 + i] = frame++ * PAGE | FLAGS;
		}
	}
}

static uint64_t ptes(const struct world *world)
{
	return (uint64_t)world->spaces * LEAVES * 512;
}

static void run_memcpy(struct world *world)
{
	static unsigned char copy[TABLES * PAGE];

	for (unsigned int space = 0; space < world->spaces; space++) {
		memcpy(copy, world->bytes + (size_t)space * sizeof(copy), sizeof(copy));
		world->checked += copy[space % sizeof(copy)];
	}
}

static int count_ranges(void *arg, const struct pw_range *ranges, size_t count)
{
	struct world *world = arg;

	world->checked += count + ranges[count - 1].paddr;
	return 0;
}

static void sweep_all(struct world *world, enum pw_merge merge)
{
	struct pw_sweep_options options = {
		.last = (UINT64_C(1) << 30) - 1,
		.merge = (uint8_t)merge,
		.shared_once = true,
	};

	for (unsigned int space = 0; space < world->spaces; space++) {
		uint64_t root = (uint64_t)space * TABLES * PAGE;

		if (pw_sweep(&world->paging, &world->memory, (uint64_t[]){ root, root }, &options,
			     count_ranges, world, NULL))
			exit(2);
	}
}

static void run_merged(struct world *world)
{
	sweep_all(world, PW_MERGE_FRAMES);
}

static void run_alike(struct world *world)
{
	sweep_all(world, PW_MERGE_LIKE);
}

static void run_single(struct world *world)
{
	sweep_all(world, PW_MERGE_NOTHING);
}

static void run_account(struct world *world)
{
	const struct pw_account account = { FRAMES, world->uses, world->counts, NULL, 0, 0, false };

	for (unsigned int space = 0; space < world->spaces; space++) {
		uint64_t root = (uint64_t)space * TABLES * PAGE;

		if (pw_account_add(&account, &world->paging, &world->memory,
				   (uint64_t[]){ root, root }, 0, (UINT64_C(1) << 30) - 1, 0,
				   count_ranges, world, NULL))
			exit(2);
	}
	world->checked += world->counts[0x100000];
}

static void find_some(struct world *world, size_t wanted)
{
	uint64_t pfns[MOST_WANTED];
	struct pw_index *index;

	for (size_t i = 0; i < wanted; i++)
		pfns[i] = 0x100000 + i * 37;
	index = must(pw_index_create_wanted(pfns, wanted));
	for (unsigned int space = 0; space < world->spaces; space++) {
		uint64_t root = (uint64_t)space * TABLES * PAGE;

		if (pw_index_add(index, space, &world->paging, &world->memory,
				 (uint64_t[]){ root, root }, 0, (UINT64_C(1) << 30) - 1, 0, NULL))
			exit(2);
	}
	if (pw_index_finish(index))
		exit(2);
	world->checked += pw_index_lookup(index, pfns[0], 0, NULL);
	pw_index_destroy(index);
}

static void run_find(struct world *world)
{
	find_some(world, 1);
}

static void run_find_many(struct world *world)
{
	find_some(world, MOST_WANTED);
}

static int read_copy(void *arg, uint64_t paddr, void *data, size_t length)
{
	const struct world *world = arg;

	if (paddr > world->length - length)
		return PW_UNREADABLE;
	memcpy(data, world->bytes + paddr, length);
	return 0;
}

static void run_callback(struct world *world)
{
	struct pw_memory memory = world->memory;

	world->memory = (struct pw_memory){ .read = read_copy, .arg = world };
	sweep_all(world, PW_MERGE_FRAMES);
	world->memory = memory;
}

#define WALKS 1000000

static void run_walks(struct world *world)
{
	for (unsigned int i = 0; i < WALKS; i++) {
		uint64_t root = random_frame() % world->spaces * TABLES * PAGE;
		struct pw_walk walk;

		if (pw_walk(&world->paging, &world->memory, (uint64_t[]){ root, root },
			    random_frame() % (LEAVES * 512) * PAGE, &walk))
			exit(2);
		world->checked += walk.paddr;
	}
}

static void index_once(struct world *world, const char *what)
{
	struct pw_index *index = must(pw_index_create());
	size_t records, found = 0;
	uint64_t pages;
	double start = now(), swept, sorted;

	for (unsigned int space = 0; space < world->spaces; space++) {
		uint64_t root = (uint64_t)space * TABLES * PAGE;

		if (pw_index_add(index, space, &world->paging, &world->memory,
				 (uint64_t[]){ root, root }, 0, (UINT64_C(1) << 30) - 1, 0, NULL))
			exit(2);
	}
	swept = now();
	if (pw_index_finish(index))
		exit(2);
	sorted = now();
	for (unsigned int i = 0; i < WALKS; i++) {
		struct pw_mapping mappings[64];

		found += pw_index_lookup(index, 0x100000 + random_frame() % 0x40000, 64, mappings);
	}
	pw_index_size(index, &records, &pages);
	printf("  %-22s %8.1f ms  swept %.1f, sorted %.1f; %zu records, %.2f bytes a PTE;"
	       " a lookup %.0f ns, %.1f found\n",
	       what, (sorted - start) * 1e3, (swept - start) * 1e3, (sorted - swept) * 1e3, records,
	       (double)records * 16 / (double)pages, (now() - sorted) / WALKS * 1e9,
	       (double)found / WALKS);
	pw_index_destroy(index);
}

static void report(struct world *world, const char *what, void (*run)(struct world *world),
		   double limit)
{
	double seconds = median_seconds(run, world);

	printf("  %-22s %8.1f ms  %7.0f M PTE/s  %5.2f of memcpy's rate\n", what, seconds * 1e3,
	       (double)ptes(world) / seconds * 1e-6, limit / seconds);
}

static void compare_all(struct world *world)
{
	double limit = median_seconds(run_memcpy, world), seconds;

	report(world, "memcpy", run_memcpy, limit);
	report(world, "sweep, merged", run_merged, limit);
	report(world, "sweep, merged if alike", run_alike, limit);
	report(world, "sweep, a range a PTE", run_single, limit);
	report(world, "sweep, by callback", run_callback, limit);
	report(world, "account", run_account, limit);
	report(world, "find one frame", run_find, limit);
	report(world, "find 4096 frames", run_find_many, limit);
	seconds = median_seconds(run_walks, world);
	printf("  %-22s %8.1f ns a walk, %.2f M/s\n", "walk, random", seconds / WALKS * 1e9,
	       WALKS / seconds * 1e-6);
	index_once(world, "index");
}

int main(int argc, char **argv)
{
	unsigned long millions = argc > 1 ? strtoul(argv[1], NULL, 10) : 16;
	struct world world = { .spaces = (unsigned int)(millions * 4) };
	struct rusage usage;

	if (!millions || millions > 1000) {
		fputs("usage: bench [MILLIONS-OF-PTES]\n", stderr);
		return 2;
	}
	world.length = (size_t)world.spaces * TABLES * PAGE;
	world.bytes = must(aligned_alloc(PAGE, world.length));
	memset(world.bytes, 0, world.length);
	world.uses = must(calloc(FRAMES, 1));
	world.counts = must(calloc(FRAMES, 1));
	world.direct = (struct pw_direct){ 0, world.length, world.bytes };
	world.memory = (struct pw_memory){ .direct = &world.direct, .direct_count = 1 };
	world.paging.form = &pw_x86_64_4_levels;

	printf("%.1f M PTEs in %u address spaces, median of %d rounds\n", (double)ptes(&world) * 1e-6,
	       world.spaces, ROUNDS);
	puts("contiguous frames:");
	fill(&world, 0);
	compare_all(&world);
	puts("runs of 8 pages:");
	fill(&world, 8);
	compare_all(&world);
	puts("random frames:");
	fill(&world, 1);
	compare_all(&world);
	getrusage(RUSAGE_SELF, &usage);
	printf("peak memory %ld MB, of it tables %zu MB (checked: %llx)\n", usage.ru_maxrss / 1024,
	       world.length >> 20, (unsigned long long)world.checked);
	return 0;
}
