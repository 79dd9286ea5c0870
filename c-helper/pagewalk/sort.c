// SPDX-License-Identifier: GPL-2.0-or-later
/* Sorting the index's records: a radix sort from the lowest digit, stable. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define DIGIT_BITS 8
#define DIGITS (1u << DIGIT_BITS)

static unsigned int digit_of(const struct pw_record *record, unsigned int shift)
{
	return (unsigned int)(record->high >> shift) & (DIGITS - 1);
}

bool pw_sort(struct pw_record *records, size_t count, unsigned int shift)
{
	uint64_t any = 0;
	bool sorted = true;
	struct pw_record *from = records, *to, *other;

	if (count < 2)
		return true;
	for (size_t i = 0; i < count; i++) {
		uint64_t differs = records[i].high ^ records[0].high;

		any |= differs;
		sorted &= !i || records[i].high >> shift >= records[i - 1].high >> shift;
	}
	if (sorted)
		return true;
	other = malloc(count * sizeof(*other));
	if (!other)
		return false;
	to = other;
	for (; shift < 64 && any >> shift; shift += DIGIT_BITS) {
		size_t at[DIGITS] = { 0 }, sum = 0;
		struct pw_record *swap = from;

		if (!(any >> shift & (DIGITS - 1)))
			continue;
		for (size_t i = 0; i < count; i++)
			at[digit_of(&from[i], shift)]++;
		for (unsigned int digit = 0; digit < DIGITS; digit++) {
			size_t here = at[digit];

			at[digit] = sum;
			sum += here;
		}
		for (size_t i = 0; i < count; i++)
			to[at[digit_of(&from[i], shift)]++] = from[i];
		from = to;
		to = swap;
	}
	if (from != records)
		memcpy(records, from, count * sizeof(*records));
	free(other);
	return true;
}
