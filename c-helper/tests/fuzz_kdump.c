// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target (libFuzzer): a compressed dump, and an LZO1X stream, of any bytes.
 *
 * Requirements: no crash; a page is read whole or not; the same through one part of the file and
 * through many.
 */
#include <stdlib.h>
#include <string.h>

#include "kdump.h"

#define REQUIRE(condition) ((condition) ? (void)0 : abort())
#define MOST_PARTS 64

static const struct pw_codec codecs[] = { { 2, pw_lzo_decode }, { 0 } };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pw_direct parts[MOST_PARTS];
	struct pw_kdump_layout layout = { 0 };
	struct pw_kdump *whole, *some;
	unsigned char one[PW_KDUMP_PAGE], other[PW_KDUMP_PAGE];
	size_t count = 0, step;

	if (size < 8)
		return -1;
	layout.bitmap_at = data[0];
	layout.first = data[1] % 64;
	layout.end = layout.first + data[2] * 4u;
	layout.descriptors_at = data[3];
	step = 1 + data[4] + size / MOST_PARTS;
	for (size_t at = 0; at < size; at += step)
		parts[count++] = (struct pw_direct){ at, size - at < step ? size - at : step, data + at };
	some = pw_kdump_create(parts, count, &layout, codecs);
	parts[0] = (struct pw_direct){ 0, size, data };
	whole = pw_kdump_create(parts, 1, &layout, codecs);
	REQUIRE(whole && some);
	for (uint64_t pfn = 0; pfn < layout.end + 2; pfn++) {
		const bool read = pw_kdump_read(whole, pfn * PW_KDUMP_PAGE, one, sizeof(one));

		REQUIRE(pw_kdump_read(some, pfn * PW_KDUMP_PAGE, other, sizeof(other)) == read);
		REQUIRE(!read || !memcmp(one, other, sizeof(one)));
	}
	pw_kdump_destroy(whole);
	pw_kdump_destroy(some);
	(void)pw_lzo_decode(data, size, one, 1 + data[5] * 16u);
	return 0;
}
