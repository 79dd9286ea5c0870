// SPDX-License-Identifier: GPL-2.0-or-later
/* Symbols of the kernel: packed, and as text. */
#include <stdlib.h>
#include <string.h>

#include "btf.h"

/* One symbol of the text, for sorting. */
struct row {
	uint64_t address;
	const char *name;		/* with its letter; ends with a byte below '!' */
};

/* Return the length of a packed name, and move to its first token. */
static size_t packed_length(const unsigned char *packed, size_t bytes, size_t *at)
{
	size_t length = packed[(*at)++];

	if (length & 0x80 && *at < bytes) /* since 6.1: 73bbb94466fd */
		length = (length & 0x7f) | (size_t)packed[(*at)++] << 7;
	return length;
}

static enum btf_status measure(const unsigned char *packed, size_t bytes, size_t count,
			       const struct btf_token *tokens, size_t *ret)
{
	size_t at = 0, total = 0;

	for (size_t i = 0; i < count; i++) {
		size_t length, before = total;

		if (at >= bytes)
			return BTF_NAMES_END;
		length = packed_length(packed, bytes, &at);
		if (length > bytes - at)
			return BTF_NAMES_END;
		for (; length; length--)
			total += tokens[packed[at++]].length;
		if (total == before)
			return BTF_NAME_EMPTY;
		if (++total > BTF_MOST_TEXT)
			return BTF_NAMES_LONG;
	}
	*ret = total;
	return BTF_OK;
}

/* Bytes that a token is copied in; most have one to three. */
#define CHUNK sizeof(uint64_t)

struct chunk {
	uint64_t bytes;
	size_t length;
};

/* Make room for the text and the names. */
static enum btf_status make_room(struct btf_symbols *symbols, size_t bytes, size_t count,
				 const char ***names)
{
	symbols->text = malloc(bytes);
	*names = malloc((count + 1) * sizeof(**names));
	if (symbols->text && *names)
		return BTF_OK;
	free(*names);
	btf_symbols_deinit(symbols);
	return BTF_NO_MEMORY;
}

enum btf_status btf_symbols_unpack(const unsigned char *packed, size_t bytes, size_t count,
				   const struct btf_token tokens[static 256],
				   struct btf_symbols *ret)
{
	struct btf_symbols symbols = { 0 };
	struct chunk chunks[256] = { 0 };
	size_t total = 0, at = 0;
	enum btf_status status = measure(packed, bytes, count, tokens, &total);
	const char **names;
	char *to;

	if (!status)
		status = make_room(&symbols, total + CHUNK, count, &names);
	if (status)
		return status;
	for (size_t i = 0; i < 256; i++) {
		chunks[i].length = tokens[i].length;
		memcpy(&chunks[i].bytes, tokens[i].text,
		       tokens[i].length < CHUNK ? tokens[i].length : CHUNK);
	}
	to = symbols.text;
	for (size_t i = 0; i < count; i++) {
		names[i] = to + 1; /* after the letter */
		for (size_t length = packed_length(packed, bytes, &at); length; length--) {
			const struct chunk *chunk = &chunks[packed[at]];

			memcpy(to, &chunk->bytes, CHUNK);
			if (chunk->length > CHUNK)
				memcpy(to, tokens[packed[at]].text, chunk->length);
			to += chunk->length;
			at++;
		}
		*to++ = '\0';
	}
	status = btf_index_init(&symbols.index, names, count);
	if (status)
		btf_symbols_deinit(&symbols);
	else
		*ret = symbols;
	return status;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_text(const char *at, const char *end)
{
	return at < end && (unsigned char)*at > ' ';
}

/* Read "ADDRESS LETTER NAME[\t[MODULE]]". Returns whether it is one; name is NULL for a module's. */
static bool parse_line(const char *at, const char *end, struct row *ret)
{
	const char *start = at, *name;
	uint64_t address = 0;

	for (; at < end && at - start < 16 && digit(*at) >= 0; at++)
		address = address << 4 | (unsigned int)digit(*at);
	if (at == start || end - at < 4 || at[0] != ' ' || !is_text(at + 1, end) || at[2] != ' ')
		return false;
	name = at + 1;
	for (at += 3; is_text(at, end); at++)
		;
	if (at == name + 2 || (at < end && (end - at < 2 || at[0] != '\t' || at[1] != '[')))
		return false;
	*ret = (struct row){ address, at < end ? NULL : name };
	return true;
}

static int by_address(const void *a, const void *b)
{
	const struct row *one = a, *other = b;

	if (one->address != other->address)
		return one->address < other->address ? -1 : 1;
	return one->name < other->name ? -1 : one->name > other->name;
}

static enum btf_status find_rows(const char *text, size_t bytes, uint64_t shift, struct row *rows,
				 size_t *ret, size_t *at)
{
	const char *end = text + bytes;
	size_t count = 0;

	for (const char *line = text, *next; line < end; line = next + 1) {
		struct row row;

		next = memchr(line, '\n', (size_t)(end - line));
		if (!next)
			next = end;
		*at = (size_t)(line - text);
		if (!parse_line(line, next, &row))
			return BTF_NO_LINE;
		if (!row.name)
			continue;
		if (count == BTF_MOST_SYMBOLS)
			return BTF_MANY;
		if (row.address >> 63)
			row.address += shift;
		rows[count++] = row;
	}
	*ret = count;
	return BTF_OK;
}

enum btf_status btf_symbols_parse(const char *text, size_t bytes, uint64_t shift,
				  struct btf_symbols *ret, size_t *at)
{
	struct btf_symbols symbols = { 0 };
	/* A line has six bytes or more. */
	size_t count = bytes / 6 + 1, total = 0;
	struct row *rows = calloc(count < BTF_MOST_SYMBOLS ? count : BTF_MOST_SYMBOLS, sizeof(*rows));
	enum btf_status status = rows ? find_rows(text, bytes, shift, rows, &count, at) : BTF_NO_MEMORY;
	const char **names;
	bool sorted = true;

	if (!status)
		status = make_room(&symbols, bytes + 1, count, &names);
	if (status)
		goto out;
	for (size_t i = 1; i < count && sorted; i++)
		sorted = rows[i - 1].address <= rows[i].address;
	if (!sorted)
		qsort(rows, count, sizeof(*rows), by_address);
	symbols.addresses = malloc((count + 1) * sizeof(*symbols.addresses));
	if (!symbols.addresses) {
		free(names);
		status = BTF_NO_MEMORY;
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		const char *from = rows[i].name;

		names[i] = symbols.text + total + 1;
		symbols.addresses[i] = rows[i].address;
		symbols.text[total++] = *from;
		for (from += 2; is_text(from, text + bytes); from++)
			symbols.text[total++] = *from;
		symbols.text[total++] = '\0';
	}
	status = btf_index_init(&symbols.index, names, count);
out:
	free(rows);
	if (status)
		btf_symbols_deinit(&symbols);
	else
		*ret = symbols;
	return status;
}

void btf_symbols_deinit(struct btf_symbols *symbols)
{
	btf_index_deinit(&symbols->index);
	free(symbols->text);
	free(symbols->addresses);
	*symbols = (struct btf_symbols){ 0 };
}

bool btf_addresses(const unsigned char *offsets, size_t count, enum btf_offsets form, uint64_t base,
		   uint64_t *ret)
{
	bool sorted = true;

	for (size_t i = 0; i < count; i++) {
		int32_t offset;

		memcpy(&offset, offsets + 4 * i, sizeof(offset));
		if (form == BTF_OFFSETS_BASE)
			ret[i] = base + (uint32_t)offset;
		else if (form == BTF_OFFSETS_PLACE)
			ret[i] = base + 4 * i + (uint64_t)(int64_t)offset;
		else
			ret[i] = offset >= 0 ? (uint64_t)offset : base - 1 - (uint64_t)(int64_t)offset;
		sorted = sorted && (!i || ret[i - 1] <= ret[i]);
	}
	return sorted;
}
