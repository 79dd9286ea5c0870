// SPDX-License-Identifier: GPL-2.0-or-later
/* The consumer's side of a BPF ring buffer. */
#include "ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

int watch_ring_next(struct watch_ring *ring, void *record, size_t wanted)
{
	uint64_t consumer = *ring->consumer;

	for (;;) {
		uint64_t left = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - consumer, bytes;
		const uint8_t *header = ring->data + (consumer & (ring->bytes - 1));
		uint32_t word, length;

		if (!left)
			return 0;
		if (left > ring->bytes || left < BPF_RINGBUF_HDR_SZ || consumer % 8)
			return -EBADMSG;
		word = __atomic_load_n((const uint32_t *)(const void *)header, __ATOMIC_ACQUIRE);
		if (word & BPF_RINGBUF_BUSY_BIT)
			return 0;
		length = word & ~BPF_RINGBUF_DISCARD_BIT;
		bytes = ((uint64_t)length + BPF_RINGBUF_HDR_SZ + 7) & ~(uint64_t)7;
		if (bytes > left)
			return -EBADMSG;
		if (!(word & BPF_RINGBUF_DISCARD_BIT)) {
			if (length != wanted)
				return -EBADMSG;
			memcpy(record, header + BPF_RINGBUF_HDR_SZ, length);
		}
		consumer += bytes;
		__atomic_store_n(ring->consumer, consumer, __ATOMIC_RELEASE);
		if (!(word & BPF_RINGBUF_DISCARD_BIT))
			return 1;
	}
}
