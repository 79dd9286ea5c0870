/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The consumer's side of a BPF ring buffer (kernel/bpf/ringbuf.c). */
#ifndef WATCH_RING_H
#define WATCH_RING_H

#include <stddef.h>
#include <stdint.h>

/*
 *   consumer page | producer page | data | the same data again
 *
 * A record is a header of two 32-bit words, of which the first is the length and two flags, then the
 * data, up to a multiple of 8.
 */
struct watch_ring {
	uint64_t *consumer;		/* position, written here */
	const uint64_t *producer;	/* position, written by the kernel */
	const uint8_t *data;		/* mapped twice: a record is never in two parts */
	uint64_t bytes;			/* a power of two */
};

/*
 * Copy the next record and go on to the one after it.
 *
 * Returns 1, 0 if there is none (yet), or -EBADMSG if the header is impossible: then the ring stays where
 * it is. A record of another length than wanted is impossible too.
 */
int watch_ring_next(struct watch_ring *ring, void *record, size_t wanted);

#endif
