// SPDX-License-Identifier: GPL-2.0-or-later
/* Fields of many structures. */
#include <stdlib.h>

#include "structs_internal.h"

/* Fields that are this near to each other are read at once. */
#define SPAN 512
/* Structures that are this far ahead are prefetched. */
#define AHEAD 8
/* Fewer structures, each in a page of its own, are read in the order given. */
#ifndef PW_SCATTERED
#define PW_SCATTERED 256
#endif
#define PAGE_BITS 12
/* Pages that are read at once, and the hole that may be between two of them. */
#define AT_ONCE 64
#define HOLE 2

bool pw_fields_valid(const struct pw_fields *fields)
{
	if (!fields->count || fields->count > PW_MAX_FIELDS)
		return false;
	for (unsigned int i = 0; i < fields->count; i++) {
		const uint32_t bytes = fields->field[i].bytes;

		if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8)
			return false;
	}
	return true;
}

/* The part of a structure that has all fields. */
struct span {
	uint32_t first, bytes;		/* 0 bytes: too large to be read at once */
};

static struct span span_of(const struct pw_fields *fields)
{
	uint64_t first = UINT32_MAX, end = 0;

	for (unsigned int i = 0; i < fields->count; i++) {
		const struct pw_field *field = &fields->field[i];
		const uint64_t last = (uint64_t)field->offset + field->bytes;

		first = field->offset < first ? field->offset : first;
		end = last > end ? last : end;
	}
	return (struct span){ (uint32_t)first, end - first <= SPAN ? (uint32_t)(end - first) : 0 };
}

/* Read each field by itself. */
static int gather_apart(struct pw_reader *reader, uint64_t address, const struct pw_fields *fields,
			uint64_t *row, uint64_t *fault)
{
	int reason = 0;

	for (unsigned int i = 0; i < fields->count; i++) {
		const struct pw_field *field = &fields->field[i];
		unsigned char buffer[8];
		const void *bytes;
		uint64_t where;
		int err = pw_read_virtual(reader, address + field->offset, field->bytes, buffer,
					  &bytes, &where);

		if (err < 0)
			return err;
		row[i] = err ? 0 : pw_load_small(bytes, field->bytes);
		if (err && !reason) {
			reason = err;
			*fault = where;
		}
	}
	return reason;
}

/* Returns 0, the reason why a field cannot be read, or a negative number of the callback. */
static int gather_one(struct pw_reader *reader, uint64_t address, const struct pw_fields *fields,
		      struct span span, uint64_t *row, uint64_t *fault)
{
	unsigned char buffer[SPAN];
	const void *bytes;
	int err;

	if (!address) {
		for (unsigned int i = 0; i < fields->count; i++)
			row[i] = 0;
		return 0;
	}
	if (!span.bytes)
		return gather_apart(reader, address, fields, row, fault);
	err = pw_read_virtual(reader, address + span.first, span.bytes, buffer, &bytes, fault);
	if (err < 0)
		return err;
	/* What is between the fields may be what cannot be read. */
	if (err)
		return gather_apart(reader, address, fields, row, fault);
	for (unsigned int i = 0; i < fields->count; i++) {
		const struct pw_field *field = &fields->field[i];

		row[i] = pw_load_small((const unsigned char *)bytes + (field->offset - span.first),
			      field->bytes);
	}
	return 0;
}

static bool add_fault(struct pw_words *faults, uint64_t row, uint64_t address, int reason)
{
	uint64_t *fault = pw_words_add(faults, PW_FAULT_WORDS);

	if (!fault)
		return false;
	fault[0] = row;
	fault[1] = address;
	fault[2] = (uint64_t)reason;
	return true;
}

/* Rows by address, so that each page is read once. */
static struct pw_record *sorted_rows(const struct pw_column *addresses)
{
	struct pw_record *records = malloc(addresses->count * sizeof(*records));

	if (!records)
		return NULL;
	for (size_t i = 0; i < addresses->count; i++)
		records[i] = (struct pw_record){ pw_column_at(addresses, i), i };
	if (pw_sort(records, addresses->count, PAGE_BITS))
		return records;
	free(records);
	return NULL;
}

/* Whether most structures are in another page than the one before. */
static bool scattered(const struct pw_column *addresses)
{
	size_t jumps = 0;

	for (size_t i = 1; i < addresses->count; i++)
		jumps += (pw_column_at(addresses, i) ^ pw_column_at(addresses, i - 1)) >> PAGE_BITS != 0;
	return jumps > PW_SCATTERED && jumps > addresses->count / 4;
}

static int by_row(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

/* Structures in the order in which they are read. */
struct order {
	const struct pw_column *addresses;
	const struct pw_record *sorted;	/* NULL: as they are */
	uint32_t offset;		/* of the first byte that is read */
	size_t filled;			/* structures whose pages were read, or need not be */
};

static uint64_t address_at(const struct order *order, size_t i)
{
	return order->sorted ? order->sorted[i].high : pw_column_at(order->addresses, i);
}

/* Read the pages of the next structures at once, where they adjoin. */
static int fill(struct pw_reader *reader, struct order *order, size_t i)
{
	const uint64_t first = address_at(order, i) + order->offset;
	uint64_t last = first >> PAGE_BITS;

	while (++i < order->addresses->count) {
		const uint64_t page = (address_at(order, i) + order->offset) >> PAGE_BITS;

		if (page < last || page - last > HOLE || page - (first >> PAGE_BITS) >= AT_ONCE)
			break;
		last = page;
	}
	order->filled = i;
	if (last == first >> PAGE_BITS)
		return PW_OK;
	return pw_fill_virtual(reader, first, (size_t)(last - (first >> PAGE_BITS)) + 1);
}

int pw_gather_rows(struct pw_reader *reader, const struct pw_column *addresses,
		   const struct pw_fields *fields, uint64_t *rows, size_t stride, uint64_t base,
		   struct pw_words *faults)
{
	const struct span span = span_of(fields);
	const size_t count = addresses->count, first_fault = faults->count;
	struct order order = { .addresses = addresses, .offset = span.first };
	struct pw_record *records = NULL;
	int err = PW_OK;

	if (scattered(addresses)) {
		records = sorted_rows(addresses);
		if (!records)
			return PW_NO_MEMORY;
		order.sorted = records;
	}
	for (size_t i = 0; i < count; i++) {
		const size_t row = records ? (size_t)records[i].low : i;
		uint64_t fault = 0;

		if (i + AHEAD < count)
			pw_prefetch_virtual(reader, address_at(&order, i + AHEAD) + span.first);
		if (i >= order.filled)
			err = fill(reader, &order, i);
		if (!err)
			err = gather_one(reader, address_at(&order, i), fields, span,
					 &rows[row * stride], &fault);
		if (err > 0)
			err = add_fault(faults, base + row, fault, err) ? PW_OK : PW_NO_MEMORY;
		if (err)
			break;
	}
	if (records && faults->count > first_fault)
		qsort(&faults->words[first_fault], (faults->count - first_fault) / PW_FAULT_WORDS,
		      PW_FAULT_WORDS * sizeof(uint64_t), by_row);
	free(records);
	return err;
}

int pw_gather(const struct pw_kernel *kernel, const struct pw_column *addresses,
	      const struct pw_fields *fields, struct pw_words *rows, struct pw_words *faults)
{
	struct pw_reader reader;
	uint64_t *to;
	int err;

	if (!pw_kernel_valid(kernel) || !pw_fields_valid(fields))
		return PW_BAD_ARGUMENT;
	if (!addresses->count)
		return PW_OK;
	if (addresses->count > SIZE_MAX / PW_MAX_FIELDS)
		return PW_NO_MEMORY;
	to = pw_words_add(rows, addresses->count * fields->count);
	if (!to)
		return PW_NO_MEMORY;
	if (!pw_reader_init(&reader, kernel))
		return PW_NO_MEMORY;
	err = pw_gather_rows(&reader, addresses, fields, to, fields->count, 0, faults);
	pw_reader_deinit(&reader);
	return err;
}
