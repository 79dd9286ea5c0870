/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a watch share: its spots, their pieces, and the events of those. */
#ifndef WATCH_STATE_H
#define WATCH_STATE_H

#include "spec.h"
#include "ring.h"

#define NO_EVENT (-1)

/* A breakpoint on all CPUs: one debug register of each. Its place in the array is its row of the counts. */
struct watch_event {
	bool used;
	bool write;
	int program;			/* a file, or -1 */
	int *files;			/* one for each CPU of the watch, or -1 */
};

struct watch_piece {
	uint64_t address;
	uint32_t bytes;
	int any, write;			/* events, or NO_EVENT */
};

/* An address with its breakpoints, which processes that use the same address share. */
struct watch_spot {
	uint64_t address;
	uint32_t length;
	bool user;
	uint64_t age;			/* the oldest has the lowest */
	size_t places_count;		/* 0: the spot is free */
	struct watch_piece pieces[WATCH_REGISTERS];
	size_t pieces_count;
};

struct watch_armed {
	uint32_t number;
	struct watch_key key;
	size_t spot;
};

struct watch {
	struct watch_kernel kernel;
	uint32_t *cpus;
	size_t cpus_count;
	uint32_t cpus_end;		/* CPU numbers are below */
	struct watch_options options;
	int counts_map, ring_map, events_map, places_map;
	struct watch_counts *counts;	/* the mapped array */
	struct watch_ring ring;
	void *consumer_page, *producer_pages;
	struct watch_event events[WATCH_REGISTERS];
	struct watch_spot spots[WATCH_REGISTERS];
	struct watch_armed places[WATCH_PLACES];
	size_t places_count;
	uint64_t ages;
	uint64_t lost;			/* by events that are closed */
	bool released;			/* an event was closed: its register may be free a little later */
	char message[4096];
};

struct watch_counts *watch_row(const struct watch *watch, uint32_t row, uint32_t cpu);
/* Keep a message; returns err. */
int watch_fail(struct watch *watch, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
