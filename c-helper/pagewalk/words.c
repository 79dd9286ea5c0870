// SPDX-License-Identifier: GPL-2.0-or-later
/* Growing arrays of words, and lists of losses. */
#include <stdlib.h>

#include "structs_internal.h"

#define FIRST_ROOM 64

uint64_t *pw_words_add(struct pw_words *words, size_t count)
{
	uint64_t *ret;

	if (count > words->room - words->count) {
		size_t room = words->room + words->room / 2 + FIRST_ROOM + count;
		uint64_t *larger;

		if (room > PTRDIFF_MAX / sizeof(*larger))
			return NULL;
		larger = realloc(words->words, room * sizeof(*larger));
		if (!larger)
			return NULL;
		words->words = larger;
		words->room = room;
	}
	ret = &words->words[words->count];
	words->count += count;
	return ret;
}

void pw_words_shrink(struct pw_words *words)
{
	const size_t room = words->count + FIRST_ROOM;
	uint64_t *smaller = room < words->room ? realloc(words->words, room * sizeof(*smaller)) : NULL;

	if (smaller) {
		words->words = smaller;
		words->room = room;
	}
}

void pw_losses_add(struct pw_losses *losses, const struct pw_loss *loss)
{
	if (losses->count < PW_LOSSES_KEPT)
		losses->kept[losses->count] = *loss;
	losses->count++;
}
