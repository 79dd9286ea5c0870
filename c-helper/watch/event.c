// SPDX-License-Identifier: GPL-2.0-or-later
/* Events: a breakpoint on each CPU, with its program. */
#include "event.h"

#include <errno.h>
#include <linux/hw_breakpoint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "system.h"

/* Until a register is free again after its event was closed: RCU has to let go of it (kernel/bpf/arraymap.c). */
#define RELEASE_TRIES 100
#define RELEASE_NS 10000000
/* Until programs that have begun are counted. */
#define SETTLE_TRIES 10
#define SETTLE_NS 1000000

static void wait_ns(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

static int load_program(struct watch *watch, const struct watch_spec *spec)
{
	struct watch_program program;
	int file;

	if (!watch_build(spec, &program))
		return watch_fail(watch, -E2BIG, "the BPF program is too long");
	file = bpf_program_load(program.insns, program.count, NULL, 0);
	if (file == -EINVAL || file == -EACCES) {
		char log[sizeof(watch->message) - 64];

		/* The verifier refused it: the end of its log has the reason. */
		log[0] = 0;
		file = bpf_program_load(program.insns, program.count, log, sizeof(log));
		if (file < 0)
			return watch_fail(watch, file, "the kernel refuses the BPF program: %s", log);
	}
	if (file < 0)
		return watch_fail(watch, file, "bpf(BPF_PROG_LOAD)");
	return file;
}

static int open_file(struct watch *watch, const struct watch_piece *piece, bool write, uint32_t cpu,
		     int leader)
{
	int file;

	for (int i = 0;; i++) {
		file = breakpoint_open(piece->address, piece->bytes,
				       write ? HW_BREAKPOINT_W : HW_BREAKPOINT_RW, cpu, leader);
		if (file != -ENOSPC || !watch->released || i == RELEASE_TRIES)
			break;
		wait_ns(RELEASE_NS);
	}
	return file < 0 ? watch_fail(watch, file, "perf_event_open() on CPU %u", cpu) : file;
}

static int open_files(struct watch *watch, int number, const struct watch_piece *piece, int leader)
{
	struct watch_event *event = &watch->events[number];
	int err;

	for (size_t i = 0; i < watch->cpus_count; i++) {
		uint32_t cpu = watch->cpus[i];
		uint32_t key = (uint32_t)number * watch->cpus_end + cpu;
		int file = open_file(watch, piece, event->write, cpu,
				     leader < 0 ? -1 : watch->events[leader].files[i]);

		if (file < 0)
			return file;
		event->files[i] = file;
		err = breakpoint_set_program(file, event->program);
		if (err)
			return watch_fail(watch, err, "PERF_EVENT_IOC_SET_BPF");
		err = bpf_map_set(watch->events_map, &key, &file);
		if (err)
			return watch_fail(watch, err, "bpf(BPF_MAP_UPDATE_ELEM)");
	}
	return 0;
}

static int free_event(const struct watch *watch)
{
	for (int i = 0; i < WATCH_REGISTERS; i++)
		if (!watch->events[i].used)
			return i;
	return NO_EVENT;
}

int watch_event_open(struct watch *watch, const struct watch_spot *spot, size_t piece, bool write,
		     int leader)
{
	int number = free_event(watch), err;
	struct watch_event *event;
	struct watch_spec spec = {
		.kernel = &watch->kernel, .address = spot->address, .length = spot->length,
		.user = spot->user, .places = watch->places_map,
		.counts = watch->counts_map, .ring = watch->ring_map, .events = watch->events_map,
		.cpus = watch->cpus_end, .event = (uint32_t)number,
		.spot = (uint32_t)(spot - watch->spots),
		.write = write, .emulated = watch_is_emulated(), .stack = watch->options.stack,
	};

	if (number == NO_EVENT)
		return watch_fail(watch, -ENOSPC, "all debug registers are used");
	event = &watch->events[number];
	event->files = malloc(watch->cpus_count * sizeof(*event->files));
	if (!event->files)
		return watch_fail(watch, -ENOMEM, "no memory");
	for (size_t i = 0; i < watch->cpus_count; i++)
		event->files[i] = -1;
	event->used = true;
	event->write = write;
	memset(watch_row(watch, (uint32_t)number, 0), 0, watch->cpus_end * sizeof(*watch->counts));
	event->program = load_program(watch, &spec);
	err = event->program < 0 ? event->program
				 : open_files(watch, number, &spot->pieces[piece], leader);
	if (err < 0) {
		watch_event_close(watch, number);
		return err;
	}
	return number;
}

void watch_event_set_exact(struct watch *watch, int event, bool exact)
{
	for (uint32_t cpu = 0; cpu < watch->cpus_end; cpu++)
		__atomic_store_n(&watch_row(watch, (uint32_t)event, cpu)->words[2],
				 exact ? WATCH_EXACT : 0, __ATOMIC_RELEASE);
}

int watch_event_enable(struct watch *watch, int event)
{
	for (size_t i = 0; i < watch->cpus_count; i++) {
		int err = breakpoint_enable(watch->events[event].files[i], true);

		if (err)
			return watch_fail(watch, err, "PERF_EVENT_IOC_ENABLE");
	}
	return 0;
}

/* Hits minus runs minus hits by the programs themselves. hits was read before. */
static int64_t missing(const struct watch *watch, int event, uint64_t hits)
{
	uint64_t counted = 0;

	for (size_t i = 0; i < watch->cpus_count; i++) {
		const struct watch_counts *counts = watch_row(watch, (uint32_t)event, watch->cpus[i]);

		counted += __atomic_load_n(&counts->words[0], __ATOMIC_RELAXED) +
			   __atomic_load_n(&counts->words[1], __ATOMIC_RELAXED);
	}
	return (int64_t)(hits - counted);
}

uint64_t watch_event_lost(const struct watch *watch, int event)
{
	uint64_t hits = 0, count;
	int64_t lost = 0;

	for (size_t i = 0; i < watch->cpus_count; i++)
		if (!breakpoint_count(watch->events[event].files[i], &count))
			hits += count;
	for (int i = 0; i < SETTLE_TRIES; i++) {
		lost = missing(watch, event, hits);
		if (lost <= 0)
			return 0;
		wait_ns(SETTLE_NS);
	}
	return (uint64_t)lost;
}

void watch_event_close(struct watch *watch, int number)
{
	struct watch_event *event;
	uint32_t key;

	if (number == NO_EVENT || !watch->events[number].used)
		return;
	event = &watch->events[number];
	for (size_t i = 0; i < watch->cpus_count; i++)
		if (event->files[i] >= 0)
			breakpoint_enable(event->files[i], false);
	watch->lost += watch_event_lost(watch, number);
	for (size_t i = 0; i < watch->cpus_count; i++) {
		if (event->files[i] < 0)
			continue;
		key = (uint32_t)number * watch->cpus_end + watch->cpus[i];
		bpf_map_delete(watch->events_map, &key);
		close(event->files[i]);
	}
	if (event->program >= 0)
		close(event->program);
	free(event->files);
	*event = (struct watch_event){ .program = -1 };
	watch->released = true;
}
