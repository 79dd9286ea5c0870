// SPDX-License-Identifier: GPL-2.0-or-later
/* Classes of records in an array, such as struct page. */
#include "internal.h"

/* Eight bytes of a record. */
static uint64_t field_of(const unsigned char *record, uint32_t offset)
{
	return le64toh(*(const pw_unaligned *)(record + offset));
}

int pw_classify(const void *records, size_t count, size_t record_bytes,
		const struct pw_class *classes, size_t class_count, uint8_t follows, uint8_t *ret)
{
	const unsigned char *record = records;

	for (size_t c = 0; c < class_count; c++) {
		if (record_bytes < 8 || classes[c].offset > record_bytes - 8)
			return PW_BAD_ARGUMENT;
	}
	for (size_t i = 0; i < count; i++, record += record_bytes) {
		uint8_t class = 0;

		for (size_t c = 0; c < class_count; c++) {
			const struct pw_class *it = &classes[c];

			if ((field_of(record, it->offset) & it->mask) == it->value)
				class |= it->class;
		}
		/* A tail page has the classes of its head. */
		if (class & follows)
			class |= i ? ret[i - 1] : 0;
		ret[i] = class;
	}
	return PW_OK;
}
