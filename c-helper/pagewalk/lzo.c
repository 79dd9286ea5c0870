// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decompression of LZO1X. Source: the stream format in Linux's Documentation/staging/lzo.rst.
 *
 * An instruction copies bytes from the output so far, then 0 to 3 literals; or it copies a run of
 * literals. What its first byte means depends on the number of literals before it.
 */
#include <string.h>

#include "internal.h"
#include "kdump.h"

/* The state after a run of four or more literals. */
#define LONG_RUN 4
/* The distance of the instruction that ends the stream. */
#define END_DISTANCE 16384

struct stream {
	const unsigned char *at, *end;
	unsigned char *to, *start, *stop;
	bool broken;
};

static unsigned int next(struct stream *s)
{
	if (s->at == s->end) {
		s->broken = true;
		return 1;	/* not 0, which would go on as a length */
	}
	return *s->at++;
}

/* A length that continues in further bytes if its own bits are 0. */
static size_t length_of(struct stream *s, unsigned int bits, unsigned int most)
{
	size_t length = most;
	unsigned int byte;

	if (bits)
		return bits;
	for (byte = next(s); !byte; byte = next(s))
		length += 255;
	return length + byte;
}

static void copy_literals(struct stream *s, size_t length)
{
	if (length > (size_t)(s->end - s->at) || length > (size_t)(s->stop - s->to)) {
		s->broken = true;
		return;
	}
	memcpy(s->to, s->at, length);
	s->at += length;
	s->to += length;
}

/* The source may overlap the bytes that are written: then it repeats. */
static void copy_match(struct stream *s, size_t distance, size_t length)
{
	if (distance > (size_t)(s->to - s->start) || length > (size_t)(s->stop - s->to)) {
		s->broken = true;
		return;
	}
	for (; length; length--, s->to++)
		*s->to = *(s->to - distance);
}

/* Distance in 14 bits, and the number of literals after the match in the two below. */
static size_t far_distance(struct stream *s, unsigned int *literals)
{
	unsigned int low = next(s), word = low | next(s) << 8;

	*literals = word & 3;
	return word >> 2;
}

bool pw_lzo_decode(const void *data, size_t length, void *to, size_t room)
{
	struct stream s = { data, (const unsigned char *)data + length, to, to,
			    (unsigned char *)to + room, false };
	unsigned int state = 0;

	if (length && *s.at > 17) {
		const size_t run = *s.at++ - 17u;

		copy_literals(&s, run);
		state = run < LONG_RUN ? (unsigned int)run : LONG_RUN;
	}
	while (!s.broken) {
		const unsigned int byte = next(&s);
		unsigned int literals = byte & 3;
		size_t distance, match;

		if (byte >= 64) {
			match = byte >= 128 ? 5 + (byte >> 5 & 3) : 3 + (byte >> 5 & 1);
			distance = (next(&s) << 3) + (byte >> 2 & 7) + 1;
		} else if (byte >= 32) {
			match = length_of(&s, byte & 31, 31) + 2;
			distance = far_distance(&s, &literals) + 1;
		} else if (byte >= 16) {
			match = length_of(&s, byte & 7, 7) + 2;
			distance = far_distance(&s, &literals) + END_DISTANCE + ((byte & 8) << 11);
			if (distance == END_DISTANCE)
				return !s.broken && s.at == s.end && s.to == s.stop;
		} else if (!state) {
			copy_literals(&s, length_of(&s, byte, 15) + 3);
			state = LONG_RUN;
			continue;
		} else {
			match = state == LONG_RUN ? 3 : 2;
			distance = (next(&s) << 2) + (byte >> 2) + (state == LONG_RUN ? 2049 : 1);
		}
		copy_match(&s, distance, match);
		copy_literals(&s, literals);
		state = literals;
	}
	return false;
}
