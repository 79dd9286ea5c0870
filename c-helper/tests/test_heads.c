// SPDX-License-Identifier: GPL-2.0-or-later
/* The beginnings of pages of a process, here of this one: pages that are not there read as zeros. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heads.h"
#include "tables.h"

#define PAGES 2500			/* more than two calls */
#define PAGE 4096
#define BYTES 32

/* Pages without access: the first, two that follow each other, around the end of a call, the last. */
static const size_t holes[] = { 0, 700, 701, 1023, 1024, 2047, PAGES - 1 };

static unsigned char byte_of(size_t page, size_t at)
{
	return (unsigned char)(1 + (page * 7 + at) % 255);
}

static size_t wrong_heads(const unsigned char *heads, bool with_holes)
{
	size_t wrong = 0;

	for (size_t page = 0; page < PAGES; page++) {
		bool hole = false;

		for (size_t i = 0; with_holes && i < sizeof(holes) / sizeof(*holes); i++)
			hole |= holes[i] == page;
		for (size_t at = 0; at < BYTES; at++)
			wrong += heads[page * BYTES + at] != (hole ? 0 : byte_of(page, at));
	}
	return wrong;
}

void test_heads(void)
{
	unsigned char *heads = malloc(PAGES * BYTES);
	unsigned char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	test_name = "heads";
	if (!heads || memory == MAP_FAILED)
		abort();
	for (size_t page = 0; page < PAGES; page++)
		for (size_t at = 0; at < BYTES; at++)
			memory[page * PAGE + at] = byte_of(page, at);
	CHECK_SAME("all", pw_read_heads(getpid(), (uintptr_t)memory, PAGES, PAGE, BYTES, heads), 0);
	CHECK_SAME("wrong bytes", wrong_heads(heads, false), 0);
	for (size_t i = 0; i < sizeof(holes) / sizeof(*holes); i++)
		mprotect(memory + holes[i] * PAGE, PAGE, PROT_NONE);
	memset(heads, 0xff, PAGES * BYTES);
	CHECK_SAME("holes", pw_read_heads(getpid(), (uintptr_t)memory, PAGES, PAGE, BYTES, heads), 0);
	CHECK_SAME("wrong bytes", wrong_heads(heads, true), 0);
	CHECK_SAME("no process", pw_read_heads(-1, 0, 1, PAGE, BYTES, heads), (uint64_t)-ESRCH);
	CHECK_SAME("no pages", pw_read_heads(-1, 0, 0, PAGE, BYTES, heads), 0);
	munmap(memory, PAGES * PAGE);
	free(heads);
}
