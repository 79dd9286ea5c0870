// SPDX-License-Identifier: GPL-2.0-or-later
/* The types of BTF (include/uapi/linux/btf.h): where each begins, and which have a name. */
#include <stdlib.h>
#include <string.h>

#include "btf.h"

enum { KIND_ENUM = 6, KIND_ENUM64 = 19, KINDS = 32 };

/* Words of a type, and of each of its elements. Kinds without words do not exist. */
static const unsigned char words_of[KINDS] = {
	0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3,
};
static const unsigned char words_each[KINDS] = {
	[4] = 3, [5] = 3, [KIND_ENUM] = 2, [13] = 2, [15] = 3, [KIND_ENUM64] = 3,
};

struct scan {
	const unsigned char *types;
	size_t words;
};

struct head {
	uint32_t name, kind, elements;
	bool flag;
};

static uint32_t word(const struct scan *scan, size_t at)
{
	uint32_t ret;

	memcpy(&ret, scan->types + 4 * at, sizeof(ret));
	return ret;
}

static struct head head(const struct scan *scan, size_t at)
{
	const uint32_t info = word(scan, at + 1);

	return (struct head){ word(scan, at), info >> 24 & 31, info & 0xffff, info >> 31 };
}

static size_t enumerators_of(const struct head *it)
{
	return it->kind == KIND_ENUM || it->kind == KIND_ENUM64 ? it->elements : 0;
}

/* Count types and enumerators. */
static enum btf_status measure(const struct scan *scan, size_t *types, size_t *enumerators,
			       size_t *ret)
{
	size_t at = 0;

	*types = *enumerators = 0;
	while (at + 2 < scan->words) {
		const struct head it = head(scan, at);

		*ret = 4 * at;
		if (!words_of[it.kind])
			return BTF_KIND;
		++*types;
		*enumerators += enumerators_of(&it);
		at += words_of[it.kind] + (size_t)words_each[it.kind] * it.elements;
	}
	*ret = 4 * at;
	return at == scan->words ? BTF_OK : BTF_TYPES_END;
}

/* Return a string; NULL if it is empty or there is none. */
static const char *string(const struct btf_strings *strings, size_t offset)
{
	const char *ret = NULL;

	if (offset < strings->base_bytes)
		ret = strings->base + offset;
	else if (offset - strings->base_bytes < strings->own_bytes)
		ret = strings->own + (offset - strings->base_bytes);
	return ret && *ret ? ret : NULL;
}

enum btf_status btf_types_init(const unsigned char *types, size_t bytes,
			       const struct btf_strings *strings, struct btf_types *ret, size_t *at)
{
	const struct scan scan = { types, bytes / 4 };
	const char **names, **enumerators;
	struct btf_types found = { 0 };
	size_t count, place = 0, number = 0;
	enum btf_status status = measure(&scan, &found.count, &count, at);

	if (status)
		return status;
	found.at = malloc((found.count + 1) * sizeof(*found.at));
	found.enumerations = malloc((count + 1) * sizeof(*found.enumerations));
	names = malloc((found.count + 1) * sizeof(*names));
	enumerators = malloc((count + 1) * sizeof(*enumerators));
	if (!found.at || !found.enumerations || !names || !enumerators) {
		free(names);
		free(enumerators);
		btf_types_deinit(&found);
		return BTF_NO_MEMORY;
	}
	for (size_t i = 0; i < found.count; i++) {
		const struct head it = head(&scan, place);

		found.at[i] = (uint32_t)place;
		names[i] = string(strings, it.name);
		place += words_of[it.kind];
		for (size_t j = 0; j < enumerators_of(&it); j++) {
			const size_t element = place + j * words_each[it.kind];

			found.enumerations[number] = (uint32_t)i;
			enumerators[number++] = string(strings, word(&scan, element));
		}
		found.has_signed |= it.kind == KIND_ENUM && it.flag;
		place += (size_t)words_each[it.kind] * it.elements;
	}
	status = btf_index_init(&found.index, names, found.count);
	if (status)
		free(enumerators);
	else
		status = btf_index_init(&found.enumerators, enumerators, count);
	if (status)
		btf_types_deinit(&found);
	else
		*ret = found;
	return status;
}

void btf_types_deinit(struct btf_types *types)
{
	btf_index_deinit(&types->index);
	btf_index_deinit(&types->enumerators);
	free(types->at);
	free(types->enumerations);
	*types = (struct btf_types){ 0 };
}
