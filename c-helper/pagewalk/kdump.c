// SPDX-License-Identifier: GPL-2.0-or-later
/* Pages of a kdump-compressed dump. Source: makedumpfile's IMPLEMENTATION and diskdump_mod.h. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "kdump.h"

/* Bits of the bitmap whose number of set bits before them is kept. */
#define BLOCK_BITS 512
#define BLOCK_WORDS (BLOCK_BITS / 64)
#define DESCRIPTOR_BYTES 24

struct pw_kdump {
	struct pw_direct *file;
	size_t count;
	struct pw_kdump_layout layout;
	const struct pw_codec *codecs;
	uint64_t *before;		/* set bits before each block */
};

/* The part of the file that has an offset, or the next one; the end of the list if there is none. */
static const struct pw_direct *part_at(const struct pw_kdump *kdump, uint64_t at)
{
	size_t low = 0, high = kdump->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct pw_direct *part = &kdump->file[middle];

		if (part->paddr <= at && at - part->paddr >= part->length)
			low = middle + 1;
		else if (part->paddr <= at)
			return part;
		else
			high = middle;
	}
	return &kdump->file[low];
}

/* Bytes of the file: in place, or put together in room bytes at buffer. */
static const void *bytes_at(const struct pw_kdump *kdump, uint64_t at, size_t length, void *buffer)
{
	const struct pw_direct *part = part_at(kdump, at), *end = &kdump->file[kdump->count];

	if (part != end && part->paddr <= at && part->length - (at - part->paddr) >= length)
		return (const char *)part->bytes + (at - part->paddr);
	memset(buffer, 0, length);
	for (; part != end && (part->paddr <= at || part->paddr - at < length); part++) {
		const uint64_t skip = part->paddr < at ? at - part->paddr : 0;
		const uint64_t to = part->paddr < at ? 0 : part->paddr - at;
		const uint64_t here = part->length - skip < length - to ? part->length - skip
									: length - to;

		memcpy((char *)buffer + to, (const char *)part->bytes + skip, here);
	}
	return buffer;
}

static void read_block(const struct pw_kdump *kdump, uint64_t block, uint64_t ret[BLOCK_WORDS])
{
	uint64_t buffer[BLOCK_WORDS];
	const uint64_t first = kdump->layout.first, end = kdump->layout.end;
	const void *bytes = bytes_at(kdump, kdump->layout.bitmap_at + block * (BLOCK_BITS / 8),
				     sizeof(buffer), buffer);

	for (unsigned int i = 0; i < BLOCK_WORDS; i++) {
		const uint64_t bit = block * BLOCK_BITS + i * 64;

		ret[i] = pw_load(bytes, i);
		if (bit + 64 <= first || bit >= end)
			ret[i] = 0;
		else if (bit < first)
			ret[i] &= UINT64_MAX << (first - bit);
		if (bit < end && end - bit < 64)
			ret[i] &= UINT64_MAX >> (64 - (end - bit));
	}
}

struct pw_kdump *pw_kdump_create(const struct pw_direct *file, size_t count,
				 const struct pw_kdump_layout *layout,
				 const struct pw_codec *codecs)
{
	const uint64_t blocks = layout->end / BLOCK_BITS + 1;
	struct pw_kdump *kdump = calloc(1, sizeof(*kdump));
	uint64_t sum = 0;

	if (!kdump)
		return NULL;
	kdump->layout = *layout;
	kdump->codecs = codecs;
	kdump->count = count;
	kdump->file = malloc((count + 1) * sizeof(*file));
	kdump->before = malloc(blocks * sizeof(*kdump->before));
	if (!kdump->file || !kdump->before) {
		pw_kdump_destroy(kdump);
		return NULL;
	}
	if (count)
		memcpy(kdump->file, file, count * sizeof(*file));
	for (uint64_t block = 0; block < blocks; block++) {
		uint64_t words[BLOCK_WORDS];

		kdump->before[block] = sum;
		read_block(kdump, block, words);
		for (unsigned int i = 0; i < BLOCK_WORDS; i++)
			sum += (uint64_t)__builtin_popcountll(words[i]);
	}
	return kdump;
}

void pw_kdump_destroy(struct pw_kdump *kdump)
{
	if (!kdump)
		return;
	free(kdump->file);
	free(kdump->before);
	free(kdump);
}

/* The number of a page's descriptor; false if it has none. */
static bool number_of(const struct pw_kdump *kdump, uint64_t pfn, uint64_t *ret)
{
	const uint64_t block = pfn / BLOCK_BITS;
	const unsigned int word = pfn % BLOCK_BITS / 64;
	const uint64_t bit = UINT64_C(1) << (pfn & 63);
	uint64_t words[BLOCK_WORDS];

	if (pfn < kdump->layout.first || pfn >= kdump->layout.end)
		return false;
	read_block(kdump, block, words);
	if (!(words[word] & bit))
		return false;
	*ret = kdump->before[block] + (uint64_t)__builtin_popcountll(words[word] & (bit - 1));
	for (unsigned int i = 0; i < word; i++)
		*ret += (uint64_t)__builtin_popcountll(words[i]);
	return true;
}

bool pw_kdump_read(const struct pw_kdump *kdump, uint64_t paddr, void *data, size_t length)
{
	const size_t within = paddr % PW_KDUMP_PAGE;
	unsigned char packed[PW_KDUMP_PAGE], page[PW_KDUMP_PAGE];
	const void *descriptor;
	uint64_t number, buffer[DESCRIPTOR_BYTES / 8], offset;
	uint32_t size, flags;
	const void *bytes;
	void *to = length == PW_KDUMP_PAGE ? data : page;

	if (length > PW_KDUMP_PAGE - within ||
	    !number_of(kdump, paddr / PW_KDUMP_PAGE, &number))
		return false;
	/* struct page_desc: 8 bytes offset, 4 bytes size, 4 bytes flags, 8 bytes page flags. */
	descriptor = bytes_at(kdump, kdump->layout.descriptors_at + number * DESCRIPTOR_BYTES,
			      sizeof(buffer), buffer);
	offset = pw_load(descriptor, 0);
	size = (uint32_t)pw_load(descriptor, 1);
	flags = (uint32_t)(pw_load(descriptor, 1) >> 32);
	if (!size || size > PW_KDUMP_PAGE || offset > INT64_MAX)
		return false;
	bytes = bytes_at(kdump, offset, size, packed);
	if (!flags && size == PW_KDUMP_PAGE) {
		memcpy(data, (const char *)bytes + within, length);
		return true;
	}
	for (const struct pw_codec *codec = kdump->codecs; codec->flag; codec++) {
		if (codec->flag != flags)
			continue;
		if (!codec->decode(bytes, size, to, PW_KDUMP_PAGE))
			return false;
		if (to == page)
			memcpy(data, page + within, length);
		return true;
	}
	return false;
}
