// SPDX-License-Identifier: GPL-2.0-or-later
/* The ring buffer's consumer: lengths that are impossible, records that wrap; and pieces of fields. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "pieces.h"
#include "ring.h"
#include "tables.h"

#define RING 64u
#define RECORD 12u
#define BUSY BPF_RINGBUF_BUSY_BIT
#define DISCARD BPF_RINGBUF_DISCARD_BIT

static const struct {
	const char *name;
	uint64_t consumer, producer;
	uint32_t header;
	int wanted;
	uint64_t after;			/* the consumer's position */
} rows[] = {
	{ "empty", 24, 24, RECORD, 0, 24 },
	{ "a record", 0, 24, RECORD, 1, 24 },
	{ "a record and a part of the next", 0, 32, RECORD, 1, 24 },
	{ "not committed", 0, 24, RECORD | BUSY, 0, 0 },
	{ "discarded, then nothing", 0, 24, RECORD | DISCARD, 0, 24 },
	{ "at the end, in two parts", 48, 72, RECORD, 1, 72 },
	{ "after many rounds", (1ULL << 40) + 48, (1ULL << 40) + 72, RECORD, 1, (1ULL << 40) + 72 },
	{ "the whole ring", 0, 64, RECORD, 1, 24 },
	{ "longer than what is there", 0, 16, RECORD, -EBADMSG, 0 },
	{ "another length", 0, 24, RECORD + 1, -EBADMSG, 0 },
	{ "no length", 0, 24, 0, -EBADMSG, 0 },
	{ "the longest length", 0, 64, BUSY - 1 - DISCARD, -EBADMSG, 0 },
	{ "discarded, the longest length", 0, 64, BUSY - 1, -EBADMSG, 0 },
	{ "less than a header", 0, 4, RECORD, -EBADMSG, 0 },
	{ "more than the ring", 0, 72, RECORD, -EBADMSG, 0 },
	{ "the producer is behind", 24, 0, RECORD, -EBADMSG, 24 },
	{ "not aligned", 4, 28, RECORD, -EBADMSG, 4 },
};

static void test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t *data = calloc(2, RING), *record = malloc(RECORD);
		uint64_t consumer = rows[i].consumer, producer = rows[i].producer;
		struct watch_ring ring = { &consumer, &producer, data, RING };
		const uint64_t at = consumer % RING / 8 * 8;

		test_name = rows[i].name;
		for (uint32_t j = 0; j < 2 * RING; j++)
			data[j] = (uint8_t)(j % RING);
		memcpy(data + at, &rows[i].header, sizeof(rows[i].header));
		CHECK_SAME("result", (uint64_t)watch_ring_next(&ring, record, RECORD),
			   (uint64_t)rows[i].wanted);
		CHECK_SAME("position", consumer, rows[i].after);
		for (uint32_t j = 0; rows[i].wanted == 1 && j < RECORD; j++)
			CHECK_SAME("a byte", record[j], (at + 8 + j) % RING);
		free(record);
		free(data);
	}
}

static void test_pieces(void)
{
	static const struct {
		uint64_t address;
		uint32_t length, pieces, first;
	} fields[] = {
		{ 0x1000, 1, 1, 1 }, { 0x1000, 8, 1, 8 }, { 0x1000, 3, 2, 2 }, { 0x1001, 3, 2, 1 },
		{ 0x1002, 6, 2, 2 }, { 0x1004, 8, 2, 4 }, { 0x1001, 8, 4, 1 }, { 0x1000, 32, 4, 8 },
		{ 0x1001, 16, 5, 1 }, { UINT64_MAX, 1, 1, 1 }, { 0x1000, 0, 0, 0 },
	};

	test_name = "pieces";
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		CHECK_SAME("pieces", watch_pieces(fields[i].address, fields[i].length),
			   fields[i].pieces);
		if (fields[i].length)
			CHECK_SAME("first", watch_piece_bytes(fields[i].address, fields[i].length),
				   fields[i].first);
	}
}

void test_ring(void)
{
	test_rows();
	test_pieces();
}
