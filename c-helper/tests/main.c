// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs the engine's tests. Exit: 0 all passed, 1 not. */
#include <stdarg.h>
#include <stdlib.h>

#include "tables.h"

unsigned int passed, failed;
const char *test_name = "";

#define PAT { WB, WC, UC_MINUS, UC, WB, WP, UC_MINUS, WT }

const struct pw_swap_layout layout_6_12 = {
	.hwpoison = { 23, 1 }, .migration = { 24, 3 }, .device = { 27, 4 }, .marker = { 31, 1 },
};
const struct pw_swap_layout layout_6_1 = {
	.hwpoison = { 26, 1 }, .migration = { 27, 3 }, .device = { 30, 0 }, .marker = { 30, 2 },
};
const struct pw_paging four_levels = {
	.form = &pw_x86_64_4_levels, .memory_types = PAT, .swap = &layout_6_12,
};
const struct pw_paging five_levels = {
	.form = &pw_x86_64_5_levels, .memory_types = PAT, .swap = &layout_6_12,
};

void check(bool good, const char *file, int line, const char *format, ...)
{
	va_list arguments;

	if (good) {
		passed++;
		return;
	}
	failed++;
	printf("%s:%d: %s: ", file, line, test_name);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

void check_same(const char *what, uint64_t got, uint64_t wanted, const char *file, int line)
{
	check(got == wanted, file, line, "%s is %#" PRIx64 ", not %#" PRIx64, what, got, wanted);
}

static int read_tables(void *arg, uint64_t paddr, void *data, size_t length)
{
	struct tables *tables = arg;

	tables->reads++;
	if ((paddr & -(uint64_t)0x1000) == tables->missing)
		return PW_EXCLUDED;
	if (paddr > MEMORY_BYTES - length)
		return PW_UNREADABLE;
	memcpy(data, tables->bytes + paddr, length);
	return 0;
}

void tables_put(struct tables *tables, uint64_t table, uint32_t index, uint64_t entry)
{
	for (unsigned int byte = 0; byte < 8; byte++)
		tables->bytes[table + index * 8 + byte] = (unsigned char)(entry >> 8 * byte);
}

void tables_init(struct tables *tables, const struct row *rows, uint64_t missing, bool direct)
{
	*tables = (struct tables){ .missing = missing };
	tables->block = calloc(1, MEMORY_BYTES + 1);
	if (!tables->block)
		abort();
	tables->bytes = tables->block + 1;
	for (; rows->table || rows->entry; rows++)
		tables_put(tables, rows->table, rows->index, rows->entry);
	if (!direct) {
		tables->memory = (struct pw_memory){ .read = read_tables, .arg = tables };
		return;
	}
	tables->memory = (struct pw_memory){ .direct = tables->direct, .direct_count = 3 };
	if (missing >= MEMORY_BYTES)
		missing = MEMORY_BYTES - 0x1000;
	tables->direct[0] = (struct pw_direct){ 0, missing, tables->bytes };
	tables->direct[1] = (struct pw_direct){ missing, 0x1000, NULL };
	tables->direct[2] = (struct pw_direct){ missing + 0x1000, MEMORY_BYTES - missing - 0x1000,
						tables->bytes + missing + 0x1000 };
}

void tables_deinit(struct tables *tables)
{
	free(tables->block);
}

int main(void)
{
	test_walk();
	test_sweep();
	test_runs();
	test_bounds();
	test_form();
	test_index();
	test_account();
	test_cache();
	test_sides();
	test_structs();
	test_gather();
	test_kdump();
	test_filememory();
	test_heads();
	test_watch();
	test_ring();
	test_btf();
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
