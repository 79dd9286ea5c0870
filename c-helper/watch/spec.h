/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The BPF program of one breakpoint. */
#ifndef WATCH_SPEC_H
#define WATCH_SPEC_H

#include <linux/bpf.h>

#include "watch.h"

#define WATCH_INSNS 512

/* The hash of places: a hit counts if its address, with the current mm or 0, is a key. */
struct watch_key {
	uint64_t mm;			/* 0: a kernel address */
	uint64_t address;
	uint64_t length;
};

struct watch_value {
	uint64_t value_address;
	uint64_t number;
};

/*
 * Values of the array of counts. A row per event and per spot has a value for each CPU number; the last
 * value is the only one of its row.
 *
 *   row                         words
 *   0 to 3: events              runs of the program, hits that the programs caused themselves,
 *                               WATCH_EXACT or 0
 *   4 to 7: spots               fingerprint of the last access, its events and WATCH_STATE_WROTE
 *   8: all                      records that did not fit
 */
struct watch_counts {
	uint64_t words[4];
};

#define WATCH_ROW_SPOTS WATCH_REGISTERS
#define WATCH_ROW_ALL (2 * WATCH_REGISTERS)
#define WATCH_STATE_WROTE 0x100

/* What is built into a program. */
struct watch_spec {
	const struct watch_kernel *kernel;
	uint64_t address;
	uint32_t length;
	bool user;			/* the address counts with its mm */
	int places;			/* hash of struct watch_key */
	int counts;			/* array of struct watch_counts */
	int ring;			/* ring buffer */
	int events;			/* perf event array: row of the event * cpus + CPU */
	uint32_t cpus;			/* CPU numbers are below */
	uint32_t event, spot;		/* numbers, for rows */
	bool write;			/* the breakpoint is for writes */
	bool emulated;			/* see watch_is_emulated() */
	bool stack;
};

struct watch_program {
	struct bpf_insn insns[WATCH_INSNS];
	size_t count;
	bool overflow;			/* insns are too few */
};

/* Bytes of a record in the ring. */
size_t watch_record_bytes(bool stack);
/* Returns false if the program is too long. */
bool watch_build(const struct watch_spec *spec, struct watch_program *ret);

#endif
