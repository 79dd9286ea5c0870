// SPDX-License-Identifier: GPL-2.0-or-later
/* The cache of physical pages: what is read, how often, and what is remembered. */
#include "cache.h"
#include "internal.h"
#include "tables.h"

static int fetch(struct pw_cache *cache, uint64_t paddr, size_t length, void *ret)
{
	const void *bytes;
	int err = pw_fetch(&cache->memory, paddr, length, ret, &bytes);

	if (!err && bytes != ret)
		memcpy(ret, bytes, length);
	return err;
}

static void reads_pages_once(void)
{
	static const struct row rows[] = { { T1, 0, 0x11 }, { T1, 511, 0x22 }, { T2, 0, 0x33 }, { 0 } };
	struct tables tables;
	struct pw_cache cache;
	uint64_t both[2] = { 0 };

	test_name = "cache: pages once";
	tables_init(&tables, rows, MEMORY_BYTES, false);
	CHECK(pw_cache_init(&cache, &tables.memory, 16), "no memory");
	CHECK_SAME("status", fetch(&cache, T1, 8, both), 0);
	CHECK_SAME("entry", both[0], 0x11);
	/* Over the end of a page into the next. */
	CHECK_SAME("status", fetch(&cache, T2 - 8, 16, both), 0);
	CHECK_SAME("entry", both[0], 0x22);
	CHECK_SAME("entry", both[1], 0x33);
	CHECK_SAME("status", fetch(&cache, T1 + 0x123, 8, both), 0);
	CHECK_SAME("reads", tables.reads, 2);
	/* The memory has changed, and only a new cache reads it again. */
	tables_put(&tables, T1, 0, 0x44);
	fetch(&cache, T1, 8, both);
	CHECK_SAME("entry", both[0], 0x11);
	pw_cache_deinit(&cache);
	CHECK(pw_cache_init(&cache, &tables.memory, 16), "no memory");
	fetch(&cache, T1, 8, both);
	CHECK_SAME("entry", both[0], 0x44);
	pw_cache_deinit(&cache);
	tables_deinit(&tables);
}

static void remembers_gaps(void)
{
	static const struct row rows[] = { { 0 } };
	struct tables tables;
	struct pw_cache cache;
	uint64_t entry;

	test_name = "cache: gaps";
	tables_init(&tables, rows, T2, false);
	CHECK(pw_cache_init(&cache, &tables.memory, 16), "no memory");
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_SAME("status", fetch(&cache, T2 + 8 * i, 8, &entry), PW_EXCLUDED);
		CHECK_SAME("status", fetch(&cache, MEMORY_BYTES + 8 * i, 8, &entry), PW_UNREADABLE);
		CHECK_SAME("status", fetch(&cache, T2 - 4, 8, &entry), PW_EXCLUDED);
	}
	CHECK_SAME("reads", tables.reads, 3);
	CHECK_SAME("beyond all memory", fetch(&cache, UINT64_MAX - 3, 8, &entry), PW_UNREADABLE);
	CHECK_SAME("reads", tables.reads, 3);
	pw_cache_deinit(&cache);
	tables_deinit(&tables);
}

/* More pages than it keeps: each read is still right. */
static void forgets(void)
{
	static const struct row rows[] = { { 0 } };
	struct tables tables;
	struct pw_cache cache;

	test_name = "cache: more pages than it keeps";
	tables_init(&tables, rows, MEMORY_BYTES, false);
	for (uint64_t page = 0; page < MEMORY_BYTES; page += 0x1000)
		tables_put(&tables, page, 7, page + 1);
	CHECK(pw_cache_init(&cache, &tables.memory, 1), "no memory");
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t page = i * 5 % 16 * 0x1000, entry = 0;

		CHECK_SAME("status", fetch(&cache, page + 56, 8, &entry), 0);
		CHECK_SAME("entry", entry, page + 1);
	}
	CHECK(tables.reads > 16, "%u reads of 16 pages with room for 8", tables.reads);
	pw_cache_deinit(&cache);
	tables_deinit(&tables);
}

static void leaves_direct_memory_alone(void)
{
	static const struct row rows[] = { { T1, 0, 0x11 }, { 0 } };
	struct tables tables;
	struct pw_cache cache;
	const void *bytes;
	uint64_t entry;

	test_name = "cache: direct memory";
	tables_init(&tables, rows, T2, true);
	CHECK(pw_cache_init(&cache, &tables.memory, 16), "no memory");
	CHECK_SAME("status", pw_fetch(&cache.memory, T1, 8, &entry, &bytes), 0);
	CHECK(bytes == tables.bytes + T1, "copied");
	CHECK_SAME("status", fetch(&cache, T2, 8, &entry), PW_EXCLUDED);
	/* Over the end of the range that the dump omits; there is no callback. */
	CHECK_SAME("status", fetch(&cache, T2 - 4, 8, &entry), PW_EXCLUDED);
	CHECK_SAME("status", fetch(&cache, MEMORY_BYTES, 8, &entry), PW_UNREADABLE);
	pw_cache_deinit(&cache);
	tables_deinit(&tables);
}

static int fails(void *arg, uint64_t paddr, void *data, size_t length)
{
	unsigned int *calls = arg;

	(void)paddr;
	memset(data, 1, length);
	return ++*calls == 1 ? -7 : 0;
}

static void does_not_keep_errors(void)
{
	unsigned int calls = 0;
	struct pw_memory below = { .read = fails, .arg = &calls };
	struct pw_cache cache;
	uint64_t entry = 0;

	test_name = "cache: a callback that ends the call";
	CHECK(pw_cache_init(&cache, &below, 16), "no memory");
	CHECK(fetch(&cache, T1, 8, &entry) == -7, "not its number");
	CHECK_SAME("status", fetch(&cache, T1, 8, &entry), 0);
	CHECK_SAME("entry", entry, UINT64_C(0x0101010101010101));
	CHECK_SAME("calls", calls, 2);
	pw_cache_deinit(&cache);
}

void test_cache(void)
{
	reads_pages_once();
	remembers_gaps();
	forgets();
	leaves_direct_memory_alone();
	does_not_keep_errors();
}
