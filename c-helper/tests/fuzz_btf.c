// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target (libFuzzer): packed symbols, their text, and types, of any bytes.
 *
 * Requirements: no crash; names end inside the input's own text; each is found under its own number.
 */
#include <stdlib.h>
#include <string.h>

#include "btf.h"

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void find_all(const struct btf_index *index)
{
	for (size_t i = 0; i < index->count; i++) {
		size_t number = 0;

		if (!index->names[i])
			continue;
		do {
			const size_t after = number;

			number = btf_index_next(index, index->names[i], after);
			REQUIRE(number > after);
		} while (number != i + 1);
	}
}

/* Five bytes are the tokens of all numbers; the others are packed. */
static void unpack(const uint8_t *data, size_t size)
{
	struct btf_token tokens[256];
	struct btf_symbols symbols;
	char text[8] = { 0 };

	memcpy(text, data, 5);
	for (size_t i = 0; i < 256; i++)
		tokens[i] = (struct btf_token){ text + i % 6, strlen(text + i % 6) };
	if (btf_symbols_unpack(data + 5, size - 5, data[0], tokens, &symbols))
		return;
	REQUIRE(symbols.index.count == data[0]);
	find_all(&symbols.index);
	btf_symbols_deinit(&symbols);
}

static void parse(const uint8_t *data, size_t size)
{
	struct btf_symbols symbols;
	size_t at;

	if (btf_symbols_parse((const char *)data, size, data[0] * 0x1000, &symbols, &at)) {
		REQUIRE(at < size);
		return;
	}
	for (size_t i = 1; i < symbols.index.count; i++)
		REQUIRE(symbols.addresses[i - 1] <= symbols.addresses[i]);
	find_all(&symbols.index);
	btf_symbols_deinit(&symbols);
}

static void types(const uint8_t *data, size_t size)
{
	const size_t bytes = data[0] % 64, base = data[1] % (bytes + 1);
	struct btf_types found;
	char text[64] = { 0 };
	size_t at;

	if (size < bytes + 2)
		return;
	memcpy(text, data + 2, bytes);
	if (base)
		text[base - 1] = '\0';
	data += 2 + bytes;
	size = (size - 2 - bytes) & ~(size_t)3;
	if (btf_types_init(data, size, &(struct btf_strings){ text, text + base, base, 64 - base },
			   &found, &at))
		return;
	for (size_t i = 0; i < found.count; i++)
		REQUIRE(found.at[i] < size / 4);
	for (size_t i = 0; i < found.enumerators.count; i++)
		REQUIRE(found.enumerations[i] < found.count);
	find_all(&found.index);
	find_all(&found.enumerators);
	btf_types_deinit(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t addresses[64];

	if (size < 6)
		return -1;
	unpack(data, size);
	parse(data, size);
	types(data, size);
	(void)btf_addresses(data, size / 4 < 64 ? size / 4 : 64, data[0] % 3, size, addresses);
	return 0;
}
