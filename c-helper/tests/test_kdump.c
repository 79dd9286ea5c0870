// SPDX-License-Identifier: GPL-2.0-or-later
/* Compressed dumps: which page a bit means, parts of a file, damaged data; and LZO1X. */
#include <stdlib.h>

#include "kdump.h"
#include "tables.h"

#define PAGE PW_KDUMP_PAGE
#define BITMAP_AT 100			/* nothing is aligned in a file that is in parts */
#define DESCRIPTORS_AT 1000
#define DATA_AT 3000
#define FILE_BYTES (DATA_AT + 3 * PAGE)
#define DESCRIPTOR 24

/* Decodes a page that is one byte, repeated; refuses 0xff. */
static bool repeat(const void *data, size_t length, void *to, size_t room)
{
	memset(to, *(const unsigned char *)data, room);
	return length == 1 && *(const unsigned char *)data != 0xff;
}

static const struct pw_codec codecs[] = { { 0x40, repeat }, { 0 } };

static void put(unsigned char *file, unsigned int number, uint64_t offset, uint32_t size,
		uint32_t flags)
{
	unsigned char *to = file + DESCRIPTORS_AT + (size_t)number * DESCRIPTOR;

	memcpy(to, &offset, 8);
	memcpy(to + 8, &size, 4);
	memcpy(to + 12, &flags, 4);
}

static void set(unsigned char *file, unsigned int pfn)
{
	file[BITMAP_AT + pfn / 8] |= (unsigned char)(1u << pfn % 8);
}

/* Pages 3, 70, 511, 512 and 1030 are in the file; 2 and 1040 are outside first and end. */
static unsigned char *make_file(void)
{
	static const unsigned int pages[] = { 2, 3, 70, 511, 512, 1030, 1040 };
	unsigned char *file = calloc(1, FILE_BYTES);

	for (unsigned int i = 0; i < 7; i++)
		set(file, pages[i]);
	file[DATA_AT] = 0x11;
	file[DATA_AT + 1] = 0x22;
	file[DATA_AT + 2] = 0xff;
	memset(file + DATA_AT + 3, 0x33, PAGE);
	put(file, 0, DATA_AT, 1, 0x40);
	put(file, 1, DATA_AT + 1, 1, 0x40);
	put(file, 2, DATA_AT + 3, PAGE, 0);
	put(file, 3, DATA_AT + 2, 1, 0x40);	/* damaged */
	put(file, 4, DATA_AT, 1, 0x80);		/* an unknown method */
	return file;
}

static void check_pages(const struct pw_kdump *kdump)
{
	unsigned char page[PAGE], few[8];

	CHECK_SAME("the first page", pw_kdump_read(kdump, 3 * PAGE, page, PAGE), true);
	CHECK_SAME("its data", page[PAGE - 1], 0x11);
	CHECK_SAME("an entry", pw_kdump_read(kdump, 70 * PAGE + 4088, few, 8), true);
	CHECK_SAME("its data", few[7], 0x22);
	CHECK_SAME("not compressed", pw_kdump_read(kdump, 511 * PAGE, page, PAGE), true);
	CHECK_SAME("its data", page[0] + page[PAGE - 1], 0x66);
	CHECK_SAME("damaged", pw_kdump_read(kdump, 512 * PAGE, page, PAGE), false);
	CHECK_SAME("unknown method", pw_kdump_read(kdump, 1030 * PAGE, page, PAGE), false);
	CHECK_SAME("no bit", pw_kdump_read(kdump, 4 * PAGE, page, PAGE), false);
	CHECK_SAME("before the first", pw_kdump_read(kdump, 2 * PAGE, page, PAGE), false);
	CHECK_SAME("at the end", pw_kdump_read(kdump, 1040 * PAGE, page, PAGE), false);
	CHECK_SAME("far beyond", pw_kdump_read(kdump, UINT64_MAX - 7, few, 8), false);
	CHECK_SAME("two pages", pw_kdump_read(kdump, 3 * PAGE + 4092, few, 8), false);
}

static void pages(void)
{
	const struct pw_kdump_layout layout = { BITMAP_AT, 3, 1040, DESCRIPTORS_AT };
	unsigned char *file = make_file();
	struct pw_direct parts[FILE_BYTES / 7 + 2];
	struct pw_kdump *kdump;
	size_t count = 0;

	test_name = "kdump, one part";
	parts[0] = (struct pw_direct){ 0, FILE_BYTES, file };
	kdump = pw_kdump_create(parts, 1, &layout, codecs);
	check_pages(kdump);
	pw_kdump_destroy(kdump);
	test_name = "kdump, parts of seven bytes";
	for (uint64_t at = 0; at < FILE_BYTES; at += 7) {
		const uint64_t length = FILE_BYTES - at < 7 ? FILE_BYTES - at : 7;

		parts[count++] = (struct pw_direct){ at, length, file + at };
	}
	kdump = pw_kdump_create(parts, count, &layout, codecs);
	check_pages(kdump);
	pw_kdump_destroy(kdump);
	free(file);
}

static void holes(void)
{
	const struct pw_kdump_layout layout = { BITMAP_AT, 0, 64, DESCRIPTORS_AT };
	unsigned char *file = make_file(), page[PAGE];
	/* The data of page 2 is missing, and the file has nothing after its descriptors. */
	const struct pw_direct part = { 0, DATA_AT, file };
	struct pw_kdump *kdump = pw_kdump_create(&part, 1, &layout, codecs);

	test_name = "kdump, missing parts";
	CHECK_SAME("zeros", pw_kdump_read(kdump, 2 * PAGE, page, PAGE), true);
	CHECK_SAME("its data", page[0], 0);
	pw_kdump_destroy(kdump);
	put(file, 0, UINT64_MAX, 1, 0x40);
	put(file, 1, 0, PAGE + 1, 0x40);
	kdump = pw_kdump_create(&part, 1, &layout, codecs);
	CHECK_SAME("an offset beyond all files", pw_kdump_read(kdump, 2 * PAGE, page, PAGE), false);
	CHECK_SAME("a size above a page's", pw_kdump_read(kdump, 3 * PAGE, page, PAGE), false);
	pw_kdump_destroy(kdump);
	kdump = pw_kdump_create(NULL, 0, &layout, codecs);
	CHECK_SAME("no file", pw_kdump_read(kdump, 2 * PAGE, page, PAGE), false);
	pw_kdump_destroy(kdump);
	pw_kdump_destroy(NULL);
	free(file);
}

/* A stream and its text, so short that each kind of instruction can be followed by hand. */
struct stream {
	const char *name;
	size_t length;
	unsigned char bytes[40];
	const char *text;		/* NULL: refused */
};

#define STOP 0x11, 0, 0

static const struct stream streams[] = {
	/* 17 + 4 literals at the start. */
	{ "literals", 8, { 21, 'a', 'b', 'c', 'd', STOP }, "abcd" },
	{ "a run of literals", 12, { 4, 'a', 'b', 'c', 'd', 'e', 'f', 'g', STOP }, NULL },
	{ "a run of seven", 11, { 4, 'a', 'b', 'c', 'd', 'e', 'f', 'g', STOP }, "abcdefg" },
	/* 64 | (length 3: 0 << 5) | (distance 3: low bits 2 << 2), then 0 << 3; one literal after. */
	{ "a short match", 11, { 20, 'a', 'b', 'c', 64 | 2 << 2 | 1, 0, 'd', STOP }, NULL },
	{ "a near match", 10, { 20, 'a', 'b', 'c', 64 | 2 << 2 | 1, 0, 'd', STOP }, "abcabcd" },
	{ "a match of 8", 9, { 20, 'a', 'b', 'c', 128 | 3 << 5 | 2 << 2, 0, STOP }, "abcabcabcab" },
	/* Length 5 (3 + 2), distance 1: 14 bits, then 2 literals. */
	{ "a far match", 11, { 18, 'a', 32 | 3, 0 << 2 | 2, 0, 'x', 'y', STOP }, NULL },
	{ "it repeats", 10, { 18, 'a', 32 | 3, 0 << 2 | 2, 0, 'x', 'y', STOP }, "aaaaaaxy" },
	/* After 1 to 3 literals: two bytes, distance 1 + (0 << 2) + 1. */
	{ "a match after a literal", 8, { 19, 'a', 'b', 1 << 2, 0, STOP }, "abab" },
	{ "before the start", 8, { 19, 'a', 'b', 2 << 2, 0, STOP }, NULL },
	{ "after a long run", 9, { 21, 'a', 'b', 'c', 'd', 0, 0, STOP }, NULL },
	{ "no end", 5, { 21, 'a', 'b', 'c', 'd' }, NULL },
	{ "cut", 3, { 21, 'a', 'b' }, NULL },
	{ "a length without end", 4, { 0, 0, 0, 0 }, NULL },
	{ "nothing", 0, { 0 }, NULL },
};

static void lzo(void)
{
	test_name = "LZO1X";
	for (size_t i = 0; i < sizeof(streams) / sizeof(*streams); i++) {
		const struct stream *it = &streams[i];
		const size_t room = it->text ? strlen(it->text) : 4;
		/* At the ends of heap blocks, so that AddressSanitizer reports a byte beyond. */
		unsigned char *data = malloc(it->length + 1), *to = malloc(room + 1);

		memcpy(data + 1, it->bytes, it->length);
		CHECK(pw_lzo_decode(data + 1, it->length, to + 1, room) == !!it->text, "%s",
		      it->name);
		CHECK(!it->text || !memcmp(to + 1, it->text, room), "%s: text", it->name);
		CHECK(!pw_lzo_decode(data + 1, it->length, to + 1, room - 1), "%s: no room",
		      it->name);
		free(data);
		free(to);
	}
}

void test_kdump(void)
{
	pages();
	holes();
	lzo();
}
