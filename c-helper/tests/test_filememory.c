// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory in a file: where parts begin and end, a file that is too short, a file that fails. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "filememory.h"
#include "tables.h"

#define FILE_BYTES 0x5000
#define BEYOND 0x8000			/* a part that the file does not have all of */

static const struct pw_file_part parts[] = {
	{ 0x1000, 0x2000, 0x100 },
	{ 0x3000, 0x1000, 0x3000 },	/* adjoins, but not in the file */
	{ BEYOND, 0x2000, 0x4000 },
};

/* A byte of the file says where it is: any two pieces differ. */
static unsigned char byte_at(uint64_t offset)
{
	return (unsigned char)(offset * 31 + (offset >> 8) * 7);
}

static int make_file(void)
{
	unsigned char bytes[FILE_BYTES];
	char name[] = "/tmp/pagewalk-XXXXXX";
	int file = mkstemp(name);

	for (uint64_t i = 0; i < FILE_BYTES; i++)
		bytes[i] = byte_at(i);
	if (file < 0 || unlink(name) || write(file, bytes, FILE_BYTES) != FILE_BYTES)
		abort();
	return file;
}

/* Reads that succeed: where, and the offset in the file. */
static const struct {
	uint64_t paddr, length, offset;
} good[] = {
	{ 0x1000, 1, 0x100 }, { 0x1000, 0x2000, 0x100 }, { 0x2ff8, 8, 0x20f8 },
	{ 0x3000, 0x1000, 0x3000 }, { BEYOND, 0x1000, 0x4000 }, { 0x3fff, 1, 0x3fff },
};

static const struct {
	const char *name;
	uint64_t paddr, length;
} bad[] = {
	{ "before the first part", 0xff8, 8 },
	{ "into the first part", 0xffc, 8 },
	{ "across two parts", 0x2ffc, 8 },
	{ "after a part", 0x4000, 8 },
	{ "more than a part", 0x3000, 0x1001 },
	{ "the last address", UINT64_MAX, 1 },
	{ "a length that wraps", 0x3008, SIZE_MAX },
	{ "short", BEYOND + 0xffc, 8 },
	{ "after the end of the file", BEYOND + 0x1000, 8 },
};

void test_filememory(void)
{
	struct pw_file_memory memory = { parts, 3, make_file() };
	unsigned char *data = malloc(0x2000);

	test_name = "memory in a file";
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		memset(data, 0, 0x2000);
		CHECK(pw_file_read(&memory, good[i].paddr, data, good[i].length), "read %zu", i);
		for (uint64_t at = 0; at < good[i].length; at++) {
			if (data[at] != byte_at(good[i].offset + at)) {
				CHECK_SAME("a byte", data[at], byte_at(good[i].offset + at));
				break;
			}
		}
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK(!pw_file_read(&memory, bad[i].paddr, data, bad[i].length), "%s", bad[i].name);
	memory.count = 0;
	CHECK(!pw_file_read(&memory, 0x1000, data, 8), "no parts");
	memory.count = 3;
	close(memory.descriptor);
	CHECK(!pw_file_read(&memory, 0x1000, data, 8), "a closed file");
	/* pread() of a directory is EISDIR, of memory that is not there EIO. */
	memory.descriptor = open("/", O_RDONLY);
	CHECK(!pw_file_read(&memory, 0x1000, data, 8), "an error");
	close(memory.descriptor);
	free(data);
}
