/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel's own symbols and types, indexed by name: kallsyms, /proc/kallsyms, System.map, and BTF.
 *
 * All of it is hostile input. Functions read inside the buffers that they are given, whatever those
 * contain, and in time proportional to their length.
 */
#ifndef BTF_H
#define BTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A lookup returns at most this many hits. Few names are shared by more than a hundred symbols. */
#define BTF_MOST_HITS 4096

enum btf_status {
	BTF_OK,
	BTF_NO_MEMORY,
	BTF_NAMES_END,		/* a packed name goes beyond the packed bytes */
	BTF_NAMES_LONG,		/* the names are longer than BTF_MOST_TEXT */
	BTF_NAME_EMPTY,
	BTF_NO_LINE,		/* a line of text is no symbol */
	BTF_MANY,		/* more than BTF_MOST_SYMBOLS */
	BTF_KIND,		/* a type of unknown kind */
	BTF_TYPES_END,		/* the last type goes beyond the types */
};

#define BTF_MOST_SYMBOLS (1 << 21)
#define BTF_MOST_TEXT (256 << 20)

/* Numbers by name. The names belong to the caller and end with a NUL; NULL has no name. */
struct btf_index {
	const char **names;
	size_t count;
	uint32_t *heads, *next;		/* chains of numbers + 1; 0 ends one */
	uint32_t mask;			/* of heads */
};

/* Takes names, also if it fails. Returns BTF_OK or BTF_NO_MEMORY. */
enum btf_status btf_index_init(struct btf_index *index, const char **names, size_t count);
void btf_index_deinit(struct btf_index *index);
/* The first number from `after` on that has a name, in its chain: 0 for the first; 0 if none. */
size_t btf_index_next(const struct btf_index *index, const char *name, size_t after);

/* Symbols: the letter of the type as in nm(1), the name, and a NUL, for each. */
struct btf_symbols {
	char *text;
	uint64_t *addresses;		/* of parsed ones, sorted; else NULL */
	struct btf_index index;		/* of the names without the letter */
};

struct btf_token {
	const char *text;
	size_t length;
};

/*
 * Unpack the names of kallsyms (kernel/kallsyms.c: kallsyms_expand_symbol()).
 * ret: written only on success.
 */
enum btf_status btf_symbols_unpack(const unsigned char *packed, size_t bytes, size_t count,
				   const struct btf_token tokens[static 256],
				   struct btf_symbols *ret);
/*
 * Read text of /proc/kallsyms or System.map. Symbols of modules are left out. shift: added to the
 * addresses of the upper half (KASLR). at: where a line is no symbol.
 */
enum btf_status btf_symbols_parse(const char *text, size_t bytes, uint64_t shift,
				  struct btf_symbols *ret, size_t *at);
void btf_symbols_deinit(struct btf_symbols *symbols);

/* How kallsyms_offsets[] are turned into addresses (kernel/kallsyms.c: kallsyms_sym_address()). */
enum btf_offsets {
	BTF_OFFSETS_PERCPU,	/* CONFIG_KALLSYMS_ABSOLUTE_PERCPU: not negative ones are absolute */
	BTF_OFFSETS_BASE,	/* unsigned, from the base */
	BTF_OFFSETS_PLACE,	/* signed, from the offset's own place; base is that of the first */
};

/* Returns whether the addresses are sorted. offsets: little-endian words. */
bool btf_addresses(const unsigned char *offsets, size_t count, enum btf_offsets form, uint64_t base,
		   uint64_t *ret);

/* The types of one BTF. */
struct btf_types {
	uint32_t *at;			/* where a type begins, in words */
	size_t count;
	struct btf_index index;		/* of the names of types */
	struct btf_index enumerators;
	uint32_t *enumerations;		/* the number of the type that has an enumerator */
	bool has_signed;		/* an enumeration has the flag for signed ones */
};

/* Strings of the kernel's BTF, then, if it is a module's, of its own. Each ends with a NUL. */
struct btf_strings {
	const char *base, *own;
	size_t base_bytes, own_bytes;
};

/*
 * Find where each type begins, and index them. ret points into the strings, and is written only on
 * success. at: the byte of the types where an error is. bytes: a multiple of 4, less than 4 GiB.
 */
enum btf_status btf_types_init(const unsigned char *types, size_t bytes,
			       const struct btf_strings *strings, struct btf_types *ret, size_t *at);
void btf_types_deinit(struct btf_types *types);

#endif
