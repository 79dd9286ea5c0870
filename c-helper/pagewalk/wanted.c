// SPDX-License-Identifier: GPL-2.0-or-later
/* A few wanted frames: the entries of a table that may name one of them. */
#include <stdlib.h>
#include <string.h>

#include "wanted.h"

#define WANTED_MASK ((UINT64_C(1) << WANTED_BITS) - 1)

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

struct wanted *pw_wanted_create(const uint64_t *pfns, size_t count)
{
	struct wanted *wanted = calloc(1, sizeof(*wanted));

	if (!wanted)
		return NULL;
	wanted->pfns = malloc((count ? count : 1) * sizeof(*pfns));
	if (!wanted->pfns) {
		free(wanted);
		return NULL;
	}
	if (count)
		memcpy(wanted->pfns, pfns, count * sizeof(*pfns));
	qsort(wanted->pfns, count, sizeof(*pfns), compare);
	for (size_t i = 0; i < count; i++) {
		uint64_t pfn = wanted->pfns[i];

		if (!i || pfn != wanted->pfns[i - 1])
			wanted->pfns[wanted->count++] = pfn;
		wanted->bitmap[(pfn & WANTED_MASK) >> 6] |= UINT64_C(1) << (pfn & 63);
	}
	return wanted;
}

void pw_wanted_destroy(struct wanted *wanted)
{
	if (!wanted)
		return;
	free(wanted->pfns);
	free(wanted);
}

bool pw_is_wanted(const struct wanted *wanted, uint64_t pfn, uint64_t pages)
{
	size_t low = 0, high = wanted->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (wanted->pfns[middle] < pfn)
			low = middle + 1;
		else
			high = middle;
	}
	return low < wanted->count && wanted->pfns[low] - pfn < pages;
}

/* Find the next entry whose masked bits are one or the other value. */
static uint32_t next_equal(const void *table, uint32_t i, uint32_t end, uint64_t mask, uint64_t one,
			   uint64_t other)
{
	for (; end - i >= 8; i += 8) {
		unsigned int equal = 0;

		for (unsigned int k = 0; k < 8; k++) {
			uint64_t bits = pw_load(table, i + k) & mask;

			equal |= (bits == one) | (bits == other);
		}
		if (equal)
			break;
	}
	for (; i < end; i++) {
		uint64_t bits = pw_load(table, i) & mask;

		if (bits == one || bits == other)
			break;
	}
	return i;
}

static bool has_inverted(const struct pw_level *level)
{
	const struct pw_rule *rule = level->rules;

	while (rule->mask && !rule->inverted)
		rule++;
	return rule->inverted;
}

uint32_t pw_next_wanted(const struct wanted *wanted, const struct pw_paging *paging,
			const struct table *table, uint32_t i, uint32_t end)
{
	const struct pw_form *form = paging->form;
	const unsigned int up = form->address_shift, down = form->page_shift;
	const uint64_t mask = pw_frame_bits(paging, table->level);
	/* Entries whose address bits are stored inverted are found by their inverted bits. */
	const uint64_t flip = has_inverted(table->level) ? mask : 0;

	if (wanted->count == 1) {
		const uint64_t bits = wanted->pfns[0] << down >> up & mask;

		return next_equal(table->bytes, i, end, mask, bits, bits ^ flip);
	}
	for (; i < end; i++) {
		const uint64_t bits = pw_load(table->bytes, i) & mask;
		const uint64_t one = bits << up >> down & WANTED_MASK;
		const uint64_t other = (bits ^ flip) << up >> down & WANTED_MASK;

		if ((wanted->bitmap[one >> 6] >> (one & 63) |
		     wanted->bitmap[other >> 6] >> (other & 63)) & 1)
			break;
	}
	return i;
}
