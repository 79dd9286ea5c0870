// SPDX-License-Identifier: GPL-2.0-or-later
/* Watches: create, arm, disarm, read. */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "event.h"
#include "spot.h"
#include "system.h"

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static uint32_t counts_count(const struct watch *watch)
{
	return WATCH_ROW_ALL * watch->cpus_end + 1;
}

static size_t counts_bytes(const struct watch *watch)
{
	const size_t page = page_bytes();

	return (counts_count(watch) * sizeof(*watch->counts) + page - 1) / page * page;
}

static int make_maps(struct watch *watch)
{
	watch->counts_map = bpf_map_new(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(*watch->counts),
					counts_count(watch), BPF_F_MMAPABLE);
	if (watch->counts_map < 0)
		return watch_fail(watch, watch->counts_map, "bpf(BPF_MAP_CREATE) of an array");
	watch->ring_map = bpf_map_new(BPF_MAP_TYPE_RINGBUF, 0, 0,
				      (uint32_t)watch->options.ring_bytes, 0);
	if (watch->ring_map < 0)
		return watch_fail(watch, watch->ring_map, "bpf(BPF_MAP_CREATE) of a ring buffer");
	watch->events_map = bpf_map_new(BPF_MAP_TYPE_PERF_EVENT_ARRAY, sizeof(uint32_t),
					sizeof(uint32_t), WATCH_REGISTERS * watch->cpus_end, 0);
	if (watch->events_map < 0)
		return watch_fail(watch, watch->events_map, "bpf(BPF_MAP_CREATE) of an event array");
	watch->places_map = bpf_map_new(BPF_MAP_TYPE_HASH, sizeof(struct watch_key),
					sizeof(struct watch_value), WATCH_PLACES, 0);
	if (watch->places_map < 0)
		return watch_fail(watch, watch->places_map, "bpf(BPF_MAP_CREATE) of a hash");
	return 0;
}

static int map_maps(struct watch *watch)
{
	const size_t page = page_bytes(), ring_bytes = watch->options.ring_bytes;
	void *counts = mmap(NULL, counts_bytes(watch), PROT_READ | PROT_WRITE, MAP_SHARED,
			    watch->counts_map, 0);

	if (counts == MAP_FAILED)
		return watch_fail(watch, -errno, "mmap() of the counts");
	watch->counts = counts;
	watch->consumer_page = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, watch->ring_map, 0);
	if (watch->consumer_page == MAP_FAILED)
		return watch_fail(watch, -errno, "mmap() of the ring buffer");
	watch->producer_pages = mmap(NULL, page + 2 * ring_bytes, PROT_READ, MAP_SHARED,
				     watch->ring_map, (off_t)page);
	if (watch->producer_pages == MAP_FAILED)
		return watch_fail(watch, -errno, "mmap() of the ring buffer");
	watch->ring = (struct watch_ring){
		.consumer = watch->consumer_page,
		.producer = watch->producer_pages,
		.data = (const uint8_t *)watch->producer_pages + page,
		.bytes = ring_bytes,
	};
	return 0;
}

int watch_create(const struct watch_kernel *kernel, const uint32_t *cpus, size_t cpus_count,
		 const struct watch_options *options, struct watch **ret)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	int err;

	*ret = watch;
	if (!watch)
		return -ENOMEM;
#ifndef __x86_64__
	return watch_fail(watch, -EOPNOTSUPP, "its programs are for x86_64");
#endif
	watch->kernel = *kernel;
	watch->options = *options;
	watch->counts_map = watch->ring_map = watch->events_map = watch->places_map = -1;
	watch->consumer_page = watch->producer_pages = MAP_FAILED;
	for (size_t i = 0; i < WATCH_REGISTERS; i++)
		watch->events[i].program = -1;
	watch->cpus = malloc(cpus_count * sizeof(*cpus));
	if (!watch->cpus)
		return watch_fail(watch, -ENOMEM, "no memory");
	watch->cpus_count = cpus_count;
	for (size_t i = 0; i < cpus_count; i++) {
		watch->cpus[i] = cpus[i];
		if (cpus[i] >= watch->cpus_end)
			watch->cpus_end = cpus[i] + 1;
	}
	err = make_maps(watch);
	return err ? err : map_maps(watch);
}

void watch_disarm(struct watch *watch, uint32_t number)
{
	for (size_t i = watch->places_count; i-- > 0;) {
		struct watch_armed armed = watch->places[i];
		struct watch_spot *spot = &watch->spots[armed.spot];

		if (armed.number != number)
			continue;
		if (spot->places_count == 1)
			watch_spot_close(watch, spot);
		else
			spot->places_count--;
		bpf_map_delete(watch->places_map, &armed.key);
		watch->places[i] = watch->places[--watch->places_count];
	}
}

bool watch_is_exact(const struct watch *watch, uint32_t number)
{
	for (size_t i = 0; i < watch->places_count; i++)
		if (watch->places[i].number == number)
			return watch->spots[watch->places[i].spot].pieces[0].write != NO_EVENT;
	return false;
}

void watch_disarm_all(struct watch *watch)
{
	while (watch->places_count)
		watch_disarm(watch, watch->places[0].number);
}

void watch_destroy(struct watch *watch)
{
	if (!watch)
		return;
	watch_disarm_all(watch);
	if (watch->producer_pages != MAP_FAILED)
		munmap(watch->producer_pages, page_bytes() + 2 * watch->options.ring_bytes);
	if (watch->consumer_page != MAP_FAILED)
		munmap(watch->consumer_page, page_bytes());
	if (watch->counts)
		munmap(watch->counts, counts_bytes(watch));
	if (watch->places_map >= 0)
		close(watch->places_map);
	if (watch->events_map >= 0)
		close(watch->events_map);
	if (watch->ring_map >= 0)
		close(watch->ring_map);
	if (watch->counts_map >= 0)
		close(watch->counts_map);
	free(watch->cpus);
	free(watch);
}

int watch_arm(struct watch *watch, const struct watch_place *place)
{
	struct watch_key key = { place->mm, place->address, place->length };
	struct watch_value value = { place->value_address, place->number };
	struct watch_spot *spot;
	int err = 0;

	if (!place->length || place->length > WATCH_VALUE_BYTES ||
	    watch_pieces(place->address, place->length) > WATCH_REGISTERS)
		return watch_fail(watch, -E2BIG, "not 1 to %d pieces", WATCH_REGISTERS);
	if (watch->places_count == WATCH_PLACES)
		return watch_fail(watch, -ENOSPC, "more than %d places", WATCH_PLACES);
	for (size_t i = 0; i < watch->places_count; i++)
		if (watch->places[i].number == place->number ||
		    !memcmp(&watch->places[i].key, &key, sizeof(key)))
			return watch_fail(watch, -EEXIST, "the place is watched already");
	spot = watch_spot_of(watch, place);
	if (!spot)
		return watch_fail(watch, -ENOSPC, "all debug registers are used");
	/* Before its events, so that none is missed. */
	err = bpf_map_set(watch->places_map, &key, &value);
	if (err)
		return watch_fail(watch, err, "bpf(BPF_MAP_UPDATE_ELEM)");
	if (!spot->places_count)
		err = watch_spot_open(watch, spot);
	if (err) {
		bpf_map_delete(watch->places_map, &key);
		return err;
	}
	spot->places_count++;
	watch->places[watch->places_count++] = (struct watch_armed){
		place->number, key, (size_t)(spot - watch->spots),
	};
	return 0;
}

int watch_read(struct watch *watch, struct watch_record *ret)
{
	int got = watch_ring_next(&watch->ring, ret, watch_record_bytes(watch->options.stack));

	return got < 0 ? watch_fail(watch, got, "the ring buffer is damaged") : got;
}

int watch_fd(const struct watch *watch)
{
	return watch->ring_map;
}

uint64_t watch_lost(struct watch *watch)
{
	const struct watch_counts *all = watch_row(watch, WATCH_ROW_ALL, 0);
	uint64_t lost = watch->lost + __atomic_load_n(&all->words[0], __ATOMIC_RELAXED);

	for (int i = 0; i < WATCH_REGISTERS; i++)
		if (watch->events[i].used)
			lost += watch_event_lost(watch, i);
	return lost;
}
