// SPDX-License-Identifier: GPL-2.0-or-later
/* Symbols and types by name: packed names, lines of text, offsets, BTF; and damaged ones. */
#include <stdlib.h>

#include "btf.h"
#include "tables.h"

#define STRING(index, number) ((index)->names[number] - 1)

static struct btf_token tokens[256];

static void set_tokens(void)
{
	static char text[256][2];

	for (int i = 0; i < 256; i++) {
		text[i][0] = (char)i;
		tokens[i] = (struct btf_token){ text[i], i != 0 };
	}
	tokens[1] = (struct btf_token){ "_stext", 6 };
}

static void packed_names(void)
{
	/* The last name has two bytes of length: 128. */
	unsigned char packed[2 + 3 + 5 + 2 + 128] = { 1, 'A', 2, 'T', 1, 4, 't', 'o', 'n', 'e' };
	unsigned char *large = packed + 10;
	struct btf_symbols symbols = { 0 };
	const struct btf_index *index = &symbols.index;

	test_name = "btf: packed names";
	large[0] = 0x80;
	large[1] = 1;
	memset(large + 2, 'x', 128);
	CHECK_SAME("status", btf_symbols_unpack(packed, sizeof(packed), 4, tokens, &symbols), BTF_OK);
	CHECK_SAME("count", index->count, 4);
	CHECK(!strcmp(STRING(index, 1), "T_stext"), "%s", STRING(index, 1));
	CHECK_SAME("length", strlen(STRING(index, 3)), 128);
	CHECK_SAME("one", btf_index_next(index, "one", 0), 3);
	CHECK_SAME("no other", btf_index_next(index, "one", 3), 0);
	CHECK_SAME("none", btf_index_next(index, "ne", 0), 0);
	CHECK_SAME("only a letter", btf_index_next(index, "", 0), 1);
	btf_symbols_deinit(&symbols);

	CHECK_SAME("cut", btf_symbols_unpack(packed, sizeof(packed) - 1, 4, tokens, &symbols),
		   BTF_NAMES_END);
	CHECK_SAME("cut in a length", btf_symbols_unpack(packed, 11, 4, tokens, &symbols),
		   BTF_NAMES_END);
	CHECK_SAME("too many", btf_symbols_unpack(packed, sizeof(packed), 5, tokens, &symbols),
		   BTF_NAMES_END);
	packed[1] = 0;
	CHECK_SAME("empty", btf_symbols_unpack(packed, sizeof(packed), 4, tokens, &symbols),
		   BTF_NAME_EMPTY);
	CHECK(!symbols.text, "written in spite of an error");
}

static void long_names(void)
{
	enum { COUNT = 3000, LENGTH = 1000 };
	unsigned char *packed = calloc(COUNT, LENGTH + 2);
	static char text[512];
	struct btf_symbols symbols = { 0 };

	test_name = "btf: names that grow";
	memset(text, 'y', sizeof(text));
	tokens[2] = (struct btf_token){ text, sizeof(text) };
	if (!packed)
		abort();
	memset(packed, 2, COUNT * (LENGTH + 2));
	for (size_t at = 0; at < COUNT * (LENGTH + 2); at += LENGTH + 2) {
		packed[at] = 0x80 | (LENGTH & 0x7f);
		packed[at + 1] = LENGTH >> 7;
	}
	CHECK_SAME("status", btf_symbols_unpack(packed, COUNT * (LENGTH + 2), COUNT, tokens, &symbols),
		   BTF_NAMES_LONG);
	free(packed);
	set_tokens();
}

static enum btf_status parse(const char *text, struct btf_symbols *ret, size_t *at)
{
	return btf_symbols_parse(text, strlen(text), 0x1000, ret, at);
}

static void lines(void)
{
	static const char *const wrong[] = {
		"0 T", "0 T ", "0 T a b", " 0 T a", "0  T a", "0 TT a", "\n", "0 T a\n\n", "g T a",
		"0x0 T a", "00000000000000000 T a", "0 T a\tmod", "0 T a\t", "-1 T a", "0 T a\r\n",
	};
	struct btf_symbols symbols = { 0 };
	size_t at = 0;

	test_name = "btf: lines";
	CHECK_SAME("status", parse("ffffffff81000010 t b\n0 A a\nffffffff81000000 T b\n"
				   "ffffffffc0000000 t c\t[mod]\nffffffff81000010 d c", &symbols, &at),
		   BTF_OK);
	CHECK_SAME("count", symbols.index.count, 4);
	CHECK_SAME("not moved", symbols.addresses[0], 0);
	CHECK_SAME("moved", symbols.addresses[1], 0xffffffff81001000);
	CHECK(!strcmp(STRING(&symbols.index, 1), "Tb"), "%s", STRING(&symbols.index, 1));
	CHECK_SAME("first b", btf_index_next(&symbols.index, "b", 0), 2);
	CHECK_SAME("second b", btf_index_next(&symbols.index, "b", 2), 3);
	CHECK_SAME("no third b", btf_index_next(&symbols.index, "b", 3), 0);
	CHECK(!strcmp(STRING(&symbols.index, 3), "dc"), "%s", STRING(&symbols.index, 3));
	btf_symbols_deinit(&symbols);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		CHECK(parse(wrong[i], &symbols, &at) == BTF_NO_LINE, "\"%s\"", wrong[i]);
	CHECK_SAME("where", (parse("0 T a\n1 T b\nx", &symbols, &at), at), 12);
	CHECK_SAME("nothing", parse("", &symbols, &at), BTF_OK);
	btf_symbols_deinit(&symbols);
}

static void offsets(void)
{
	const int32_t given[] = { 16, -1, -257 };
	uint64_t found[3];
	const uint64_t base = 0xffffffff81000000;

	test_name = "btf: offsets";
	CHECK(btf_addresses((const void *)given, 3, BTF_OFFSETS_PERCPU, base, found), "not sorted");
	CHECK_SAME("absolute", found[0], 16);
	CHECK_SAME("base", found[1], base);
	CHECK_SAME("after it", found[2], base + 256);
	CHECK(!btf_addresses((const void *)given, 3, BTF_OFFSETS_BASE, base, found), "sorted");
	CHECK_SAME("unsigned", found[1], base + 0xffffffff);
	CHECK(!btf_addresses((const void *)given, 3, BTF_OFFSETS_PLACE, base, found), "sorted");
	CHECK_SAME("from its place", found[2], base + 8 - 257);
}

static const char strings[] = "\0int\0colour\0RED\0node";
/* Offsets of these names. */
enum { INT = 1, COLOUR = 5, RED = 12, NODE = 16, HEAD = sizeof(strings) };

static enum btf_status types_of(const uint32_t *words, size_t bytes, struct btf_types *ret, size_t *at)
{
	static const char own[] = "head";

	return btf_types_init((const void *)words, bytes,
			      &(struct btf_strings){ strings, own, sizeof(strings), sizeof(own) }, ret,
			      at);
}

#define INFO(kind, elements) ((uint32_t)(kind) << 24 | (elements))

static void types(void)
{
	static const uint32_t words[] = {
		INT, INFO(1, 0), 4, 32,			/* 0: int */
		COLOUR, INFO(6, 2), 4, RED, 0, INT, 1,	/* 1: enum colour */
		NODE, INFO(4, 1), 8, 0, 1, 0,		/* 2: struct node */
		0, INFO(2, 0), 3,			/* 3: struct node * */
		NODE, INFO(7, 0), 0,			/* 4: declared */
		HEAD, 1u << 31 | INFO(6, 1), 4, RED, 1,	/* 5: enum head, of the module's strings */
		~0u, INFO(8, 0), 1,			/* 6: its name does not exist */
	};
	struct btf_types found = { 0 };
	size_t at = 0;

	test_name = "btf: types";
	CHECK_SAME("status", types_of(words, sizeof(words), &found, &at), BTF_OK);
	CHECK_SAME("count", found.count, 7);
	CHECK_SAME("place", found.at[3], 17);
	CHECK_SAME("int", btf_index_next(&found.index, "int", 0), 1);
	CHECK_SAME("node", btf_index_next(&found.index, "node", 0), 3);
	CHECK_SAME("node again", btf_index_next(&found.index, "node", 3), 5);
	CHECK_SAME("head", btf_index_next(&found.index, "head", 0), 6);
	CHECK_SAME("no type", btf_index_next(&found.index, "RED", 0), 0);
	CHECK_SAME("enumerator", found.enumerations[btf_index_next(&found.enumerators, "RED", 0) - 1],
		   1);
	CHECK_SAME("again", found.enumerations[btf_index_next(&found.enumerators, "RED", 1) - 1], 5);
	CHECK(found.has_signed, "the flag");
	btf_types_deinit(&found);
	CHECK_SAME("cut", types_of(words, sizeof(words) - 4, &found, &at), BTF_TYPES_END);
	CHECK_SAME("cut in a head", types_of(words, 4 * 19, &found, &at), BTF_TYPES_END);
	CHECK_SAME("where", at, 4 * 17);
	CHECK_SAME("kind", types_of((uint32_t[]){ 0, INFO(2, 0), 0, 0, INFO(20, 0), 0 }, 24, &found, &at),
		   BTF_KIND);
	CHECK_SAME("where", at, 12);
	CHECK_SAME("nothing", types_of(words, 0, &found, &at), BTF_OK);
	btf_types_deinit(&found);
}

void test_btf(void)
{
	set_tokens();
	packed_names();
	long_names();
	lines();
	offsets();
	types();
}
