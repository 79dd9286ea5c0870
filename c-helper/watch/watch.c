// SPDX-License-Identifier: GPL-2.0-or-later
/* Watches: create, arm, disarm, read. */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "event.h"
#include "pieces.h"
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
	watch->counts_map = bpf_map_new(BPF_MAP_TYPE_ARRAY, sizeof(*watch->counts),
					counts_count(watch), BPF_F_MMAPABLE);
	if (watch->counts_map < 0)
		return watch_fail(watch, watch->counts_map, "bpf(BPF_MAP_CREATE) of an array");
	watch->ring_map = bpf_map_new(BPF_MAP_TYPE_RINGBUF, 0, (uint32_t)watch->options.ring_bytes, 0);
	if (watch->ring_map < 0)
		return watch_fail(watch, watch->ring_map, "bpf(BPF_MAP_CREATE) of a ring buffer");
	watch->events_map = bpf_map_new(BPF_MAP_TYPE_PERF_EVENT_ARRAY, sizeof(uint32_t),
					WATCH_REGISTERS * watch->cpus_end, 0);
	if (watch->events_map < 0)
		return watch_fail(watch, watch->events_map, "bpf(BPF_MAP_CREATE) of an event array");
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
	watch->kernel = *kernel;
	watch->options = *options;
	watch->counts_map = watch->ring_map = watch->events_map = -1;
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

static void close_place(struct watch *watch, struct watch_armed *armed)
{
	for (size_t i = 0; i < armed->pieces_count; i++) {
		watch_event_close(watch, armed->pieces[i].any);
		watch_event_close(watch, armed->pieces[i].write);
		armed->pieces[i].any = armed->pieces[i].write = NO_EVENT;
	}
	armed->used = false;
}

void watch_disarm(struct watch *watch, uint32_t number)
{
	for (size_t i = 0; i < WATCH_REGISTERS; i++)
		if (watch->places[i].used && watch->places[i].place.number == number)
			close_place(watch, &watch->places[i]);
}

void watch_disarm_all(struct watch *watch)
{
	for (size_t i = 0; i < WATCH_REGISTERS; i++)
		if (watch->places[i].used)
			close_place(watch, &watch->places[i]);
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
	if (watch->events_map >= 0)
		close(watch->events_map);
	if (watch->ring_map >= 0)
		close(watch->ring_map);
	if (watch->counts_map >= 0)
		close(watch->counts_map);
	free(watch->cpus);
	free(watch);
}

static bool split(struct watch_armed *armed)
{
	uint64_t address = armed->place.address;
	uint32_t left = armed->place.length;

	if (!left || watch_pieces(address, left) > WATCH_REGISTERS)
		return false;
	for (armed->pieces_count = 0; left; armed->pieces_count++) {
		uint32_t bytes = watch_piece_bytes(address, left);

		armed->pieces[armed->pieces_count] = (struct watch_piece){
			.address = address, .bytes = bytes, .any = NO_EVENT, .write = NO_EVENT,
		};
		address += bytes;
		left -= bytes;
	}
	return true;
}

static int open_place(struct watch *watch, struct watch_armed *armed, bool exact)
{
	int event;

	for (size_t i = 0; i < armed->pieces_count; i++) {
		struct watch_piece *piece = &armed->pieces[i];

		if (exact) {
			event = watch_event_open(watch, armed, i, true, NO_EVENT);
			if (event < 0)
				return event;
			piece->write = event;
		}
		event = watch_event_open(watch, armed, i, watch->options.writes_only, piece->write);
		if (event < 0)
			return event;
		piece->any = event;
		watch_event_set_exact(watch, event, exact);
	}
	for (size_t i = 0; i < armed->pieces_count; i++) {
		const struct watch_piece *piece = &armed->pieces[i];
		int err = watch_event_enable(watch, exact ? piece->write : piece->any);

		if (err)
			return err;
	}
	return 0;
}

/* Take the second registers of the newest place that has some. Its events go on without a break. */
static bool give_back(struct watch *watch)
{
	struct watch_armed *newest = NULL;

	for (size_t i = 0; i < WATCH_REGISTERS; i++) {
		struct watch_armed *armed = &watch->places[i];

		if (armed->used && armed->pieces[0].write != NO_EVENT &&
		    (!newest || armed->age > newest->age))
			newest = armed;
	}
	for (size_t i = 0; newest && i < newest->pieces_count; i++) {
		/* First, so that no write looks like a read. */
		watch_event_set_exact(watch, newest->pieces[i].any, false);
		watch_event_close(watch, newest->pieces[i].write);
		newest->pieces[i].write = NO_EVENT;
	}
	return newest;
}

int watch_arm(struct watch *watch, const struct watch_place *place)
{
	struct watch_armed *armed = NULL;
	bool exact = !watch->options.writes_only;
	size_t needed = 0;
	int err;

	for (size_t i = 0; i < WATCH_REGISTERS && !armed; i++)
		if (!watch->places[i].used)
			armed = &watch->places[i];
	if (!armed)
		return watch_fail(watch, -ENOSPC, "all debug registers are used");
	armed->place = *place;
	if (!split(armed))
		return watch_fail(watch, -E2BIG, "more than %d pieces", WATCH_REGISTERS);
	for (size_t i = 0; i < WATCH_REGISTERS; i++)
		needed += watch->places[i].used ? watch->places[i].pieces_count : 0;
	/* Do not take back second registers if that is not enough. */
	if (needed + armed->pieces_count > WATCH_REGISTERS)
		return watch_fail(watch, -ENOSPC, "all debug registers are used");
	memset(watch_row(watch, WATCH_ROW_PLACES + (uint32_t)(armed - watch->places), 0), 0,
	       watch->cpus_end * sizeof(*watch->counts));
	for (;;) {
		err = open_place(watch, armed, exact);
		if (!err)
			break;
		close_place(watch, armed);
		if (err != -ENOSPC || (!exact && !give_back(watch)))
			return err;
		exact = false;
	}
	armed->used = true;
	armed->age = watch->ages++;
	watch->released = false;
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
