// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A helper with invalid answers. It replaces the real one: load the module with
 * allow_any=1 and stop the helper first.
 *
 *   rogue MODE SECONDS
 *
 * Prints "ready" when it has mapped the region, then answers for SECONDS.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sha256.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "umh_shm_abi.h"

#define PAGE 4096

static int device;
static char *base;
static size_t length;

static void ring(uint32_t slot)
{
	/* A failed write does not matter here. */
	if (write(device, &slot, sizeof(slot)) < 0)
		return;
}

static void finish(struct umh_shm_slot *slot, uint32_t index)
{
	__atomic_store_n(&slot->state, UMH_SHM_DONE, __ATOMIC_RELEASE);
	ring(index);
}

/* A correct answer. Most modes then change one field. */
static void honest(struct umh_shm_slot *slot, const char *text)
{
	char hex[SHA256_DIGEST_STRING_LENGTH];
	size_t len = strlen(text);

	slot->ack = slot->seq;
	slot->status = 0;
	slot->reply_len = (uint32_t)len;
	memcpy(slot->reply, text, len);
	SHA256Data((const uint8_t *)text, len, hex);
	memcpy(slot->reply_hash, hex, sizeof(hex));
}

static void wrong_hash(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY);
	slot->reply_hash[0] ^= 1;
	finish(slot, index);
}

static void wrong_text(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, "2 hello wOrld");
	finish(slot, index);
}

static void longer_text(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY " and more");
	finish(slot, index);
}

static void huge_length(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY);
	slot->reply_len = UINT32_MAX;
	finish(slot, index);
}

static void length_plus_one(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY);
	slot->reply_len = UMH_SHM_REPLY_MAX + 1;
	finish(slot, index);
}

static void wrong_ack(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY);
	slot->ack++;
	finish(slot, index);
}

static void changed_seq(struct umh_shm_slot *slot, uint32_t index)
{
	slot->seq += 7;
	honest(slot, UMH_SHM_HEALTH_REPLY);
	finish(slot, index);
}

static void refusal(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY);
	slot->status = -EPROTO;
	finish(slot, index);
}

static void odd_status(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY);
	slot->status = INT32_MIN;
	finish(slot, index);
}

static void odd_state(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY);
	slot->state = 0xdeadbeef;
	ring(index);
}

static void silence(struct umh_shm_slot *slot, uint32_t index)
{
	(void)slot;
	(void)index;
}

static void bell_only(struct umh_shm_slot *slot, uint32_t index)
{
	(void)slot;
	ring(index);
}

static void correct(struct umh_shm_slot *slot, uint32_t index)
{
	honest(slot, UMH_SHM_HEALTH_REPLY);
	finish(slot, index);
}

static void fill(struct umh_shm_slot *slot, uint32_t index)
{
	memset(slot, 0xff, sizeof(*slot));
	finish(slot, index);
}

static const struct mode {
	const char *name;
	void (*answer)(struct umh_shm_slot *slot, uint32_t index);
} modes[] = {
	{ "wrong-hash", wrong_hash },
	{ "wrong-text", wrong_text },
	{ "longer-text", longer_text },
	{ "huge-length", huge_length },
	{ "length-plus-one", length_plus_one },
	{ "wrong-ack", wrong_ack },
	{ "changed-seq", changed_seq },
	{ "refusal", refusal },
	{ "odd-status", odd_status },
	{ "odd-state", odd_state },
	{ "silence", silence },
	{ "bell-only", bell_only },
	{ "correct", correct },
	{ "fill", fill },
};

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void answer_until(const struct mode *mode, time_t end)
{
	struct pollfd pfd = { .fd = device, .events = POLLIN };

	while (now() < end) {
		uint32_t index;

		if (poll(&pfd, 1, 100) != 1 || read(device, &index, sizeof(index)) != sizeof(index))
			continue;
		if (index < length / PAGE)
			mode->answer((void *)(base + (size_t)index * PAGE), index);
	}
}

/* Writes noise over the whole region and rings all bells, as fast as it can. */
static void scribble_until(time_t end)
{
	uint32_t noise = 0x12345678, *words = (uint32_t *)base;

	while (now() < end) {
		for (size_t i = 0; i < length / sizeof(*words); i++) {
			noise ^= noise << 13;
			noise ^= noise >> 17;
			noise ^= noise << 5;
			/* Small numbers too, so that valid states and lengths occur. */
			__atomic_store_n(&words[i], i % 3 ? noise % 4 : noise, __ATOMIC_RELAXED);
		}
		for (uint32_t slot = 0; slot <= length / PAGE; slot++)
			ring(slot);
	}
}

static size_t region_length(void)
{
	FILE *file = fopen("/sys/class/misc/" UMH_SHM_DEVICE "/length", "r");
	size_t bytes = 0;

	if (!file || fscanf(file, "%zu", &bytes) != 1)
		exit(1);
	fclose(file);
	return bytes;
}

int main(int argc, char **argv)
{
	const struct mode *mode = NULL;
	time_t end;

	if (argc != 3)
		return 2;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(argv[1], modes[i].name))
			mode = &modes[i];
	if (!mode && strcmp(argv[1], "scribble"))
		return 2;
	end = now() + atoi(argv[2]);

	length = region_length();
	device = open("/dev/" UMH_SHM_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (device < 0)
		return 1;
	base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	if (base == MAP_FAILED)
		return 1;
	puts("ready");
	fflush(stdout);
	if (mode)
		answer_until(mode, end);
	else
		scribble_until(end);
	return 0;
}
