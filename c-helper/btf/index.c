// SPDX-License-Identifier: GPL-2.0-or-later
/* An index of names. */
#include <stdlib.h>
#include <string.h>

#include "btf.h"

/* Bytes of a name that are hashed: many types can share one name of megabytes. */
#define MOST_HASHED 64

static uint32_t hash(const struct btf_index *index, const char *name)
{
	/* FNV-1a from a start that differs from run to run, so that no table can be made of collisions. */
	uint64_t ret = (uintptr_t)index->heads ^ 0xcbf29ce484222325;

	for (size_t i = 0; i < MOST_HASHED && name[i]; i++)
		ret = (ret ^ (unsigned char)name[i]) * 0x100000001b3;
	return (uint32_t)(ret ^ ret >> 32) & index->mask;
}

enum btf_status btf_index_init(struct btf_index *index, const char **names, size_t count)
{
	size_t heads = 1;

	while (heads < count)
		heads *= 2;
	*index = (struct btf_index){ names, count, calloc(heads, sizeof(uint32_t)),
				     calloc(count + 1, sizeof(uint32_t)), (uint32_t)(heads - 1) };
	if (!index->heads || !index->next) {
		btf_index_deinit(index);
		return BTF_NO_MEMORY;
	}
	/* From the last to the first, so that chains are in order. */
	for (size_t i = count; i-- > 0;) {
		uint32_t *head;

		if (!names[i])
			continue;
		head = &index->heads[hash(index, names[i])];
		index->next[i] = *head;
		*head = (uint32_t)i + 1;
	}
	return BTF_OK;
}

void btf_index_deinit(struct btf_index *index)
{
	free(index->names);
	free(index->heads);
	free(index->next);
	*index = (struct btf_index){ 0 };
}

size_t btf_index_next(const struct btf_index *index, const char *name, size_t after)
{
	size_t number = after ? index->next[after - 1] : index->heads[hash(index, name)];

	while (number && strcmp(index->names[number - 1], name) != 0)
		number = index->next[number - 1];
	return number;
}
