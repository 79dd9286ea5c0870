/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engine's tests share: physical memory made of a few entries, and checks. */
#ifndef TABLES_H
#define TABLES_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pagewalk.h"

#define BIT(number) (UINT64_C(1) << (number))
#define P BIT(0)
#define RW BIT(1)
#define US BIT(2)
#define PWT BIT(3)
#define PCD BIT(4)
#define A BIT(5)
#define D BIT(6)
#define PSE BIT(7)
#define G BIT(8)
#define PROTNONE BIT(8)
#define PAT_LARGE BIT(12)
#define NX BIT(63)
#define TABLE (P | RW | US | A)
#define ADDRESS_BITS UINT64_C(0x000ffffffffff000)
#define END UINT64_MAX

/* Numbers of x86_64's memory types. */
enum { WB, WC, UC_MINUS, UC, WT, WP };

/* Tables of the tests. Other memory up to MEMORY_BYTES is zero, and there is none beyond it. */
#define ROOT 0x1000
#define T1 0x2000
#define T2 0x3000
#define T3 0x4000
#define T4 0x5000
#define T5 0x6000
#define MEMORY_BYTES 0x10000

/* An entry and where it is. A row of zeros ends a list. */
struct row {
	uint64_t table;
	uint32_t index;
	uint64_t entry;
};

/*
 * The bytes begin one after an aligned address, because the engine must not rely on alignment. They
 * end at the end of their heap block, so that AddressSanitizer reports a read beyond them.
 */
struct tables {
	unsigned char *block, *bytes;
	struct pw_direct direct[3];
	struct pw_memory memory;
	uint64_t missing;		/* a page that reads as excluded; 1: none */
	unsigned int reads;
};

/* direct: the engine reads the bytes itself; otherwise through a callback that counts reads. */
void tables_init(struct tables *tables, const struct row *rows, uint64_t missing, bool direct);
void tables_deinit(struct tables *tables);
void tables_put(struct tables *tables, uint64_t table, uint32_t index, uint64_t entry);

/* __swp_entry() of pgtable_64.h: bits 58:9 hold the inverted offset. */
#define SWAP(type, offset) \
	((uint64_t)(type) << 59 | (~(uint64_t)(offset) & (BIT(50) - 1)) << 9)
#define INVERTED(frame) (((uint64_t)(frame)) ^ ADDRESS_BITS)

/* Linux 6.12 with all swap types; 6.1 with memory failure, which has SWP_SWAPIN_ERROR. */
extern const struct pw_swap_layout layout_6_12, layout_6_1;
/* Linux's own PAT, with both forms. */
extern const struct pw_paging four_levels, five_levels;

extern unsigned int passed, failed;
extern const char *test_name;

void check(bool good, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
#define CHECK(condition, ...) check(condition, __FILE__, __LINE__, __VA_ARGS__)
/* Two numbers that should be equal. */
void check_same(const char *what, uint64_t got, uint64_t wanted, const char *file, int line);
#define CHECK_SAME(what, got, wanted) \
	check_same((what), (uint64_t)(got), (uint64_t)(wanted), __FILE__, __LINE__)

void test_walk(void);
void test_sweep(void);
void test_runs(void);
void test_bounds(void);
void test_form(void);
void test_index(void);
void test_account(void);
void test_cache(void);
void test_sides(void);
void test_structs(void);
void test_gather(void);
void test_kdump(void);
void test_filememory(void);
void test_heads(void);
void test_watch(void);
void test_ring(void);
void test_btf(void);

#endif
