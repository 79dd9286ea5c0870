/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory of the fuzz target of structures, and the slow walks that it is compared with. */
#ifndef FUZZ_STRUCTS_H
#define FUZZ_STRUCTS_H

#include "structs.h"

#define PAGE ((size_t)4096)
#define PAGES 8
#define FIRST_PAGE 4			/* before it are the page tables */
#define DIRECT UINT64_C(0xffff888000000000)
#define VMALLOC UINT64_C(0xffffc90000000000)
#define MOST 48				/* of nodes, VMAs and records, so that the slow walk is not */

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

struct input {
	const uint8_t *data;
	size_t size;
};

struct world {
	unsigned char pages[PAGES][PAGE];
	uint32_t excluded;		/* bit n: page n was left out */
	unsigned int changing;		/* bits of a byte that change with each read */
	unsigned int reads;
	struct pw_direct direct[PAGES];
	struct pw_memory memory;
	struct pw_paging paging;
	struct pw_kernel kernel;
	uint64_t mms[3];
	size_t mm_count;
	struct pw_mm_layout layout;
	struct pw_vma_limits limits;
};

void check_slow_vmas(const struct world *world, const struct pw_vma_result *result);
void check_slow_xarray(const struct world *world, const struct pw_xa_layout *layout, uint64_t step,
		       const struct pw_words *runs, const struct pw_losses *losses);

#endif
