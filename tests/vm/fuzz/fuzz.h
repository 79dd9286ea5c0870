/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fuzzer of the interface of umh_shm.ko.
 *
 *   main.c     options, processes, deadlines, the report
 *   program.c  programs of several calls; those that reach new code are kept
 *   kcov.c     which code of the module a call reached
 *   memory.c   calls on mappings
 *   file.c     calls on open files
 *   life.c     the module's files, its helper, loading and unloading
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE		4096UL
#define PROCESSES_MAX	16
#define FILES_MAX	8	/* open files of the device, for each process */
#define MAPS_MAX	8
#define CALLS_KINDS	64
#define COVER_BYTES	0x10000	/* of the module's text */

/* Written by all processes of a run. */
struct shared {
	uint32_t epoch;			/* a new one: let go of all files and mappings */
	uint32_t loads;			/* a new one: the module's text has moved */
	uint32_t stop;
	struct process {
		uint64_t calls;
		uint64_t since_ns;	/* start of the current call */
		uint32_t kind;		/* of the current call */
		uint64_t seed;		/* of the current call */
		uint64_t new_code;	/* programs that reached new code */
	} process[PROCESSES_MAX];
	uint64_t done[CALLS_KINDS];	/* calls that succeeded */
	uint64_t failed[CALLS_KINDS];
	uint8_t covered[COVER_BYTES / 8];
};

/* What a process has, and what its calls draw their arguments from. */
struct state {
	uint64_t random;	/* of the current call */
	uint32_t epoch;
	int file[FILES_MAX];	/* -1: none */
	struct map {
		char *start;	/* NULL: none */
		size_t length;
	} map[MAPS_MAX];
	int number;		/* of the process */
};

struct options {
	uint64_t seed;
	uint64_t calls;
	unsigned int processes;
	unsigned int stuck_seconds;	/* a call that takes longer hangs */
	const char *module;		/* umh_shm.ko; NULL: never unload it */
	const char *freezer;		/* a group of the freezer; NULL: none */
	bool blind;			/* do not use kcov */
};

/* A kind of call. Returns 0, or -1 with errno. */
struct call {
	const char *name;
	int (*make)(struct state *s);
	unsigned int weight;
};

extern struct shared *shared;
extern struct options options;
extern __thread sigjmp_buf *fault_return;	/* where a fault of this thread continues */

extern const struct call memory_calls[], file_calls[], life_calls[];	/* end with name NULL */

uint64_t draw(struct state *s);				/* 64 random bits */
uint64_t below(struct state *s, uint64_t end);		/* 0 to end - 1 */
bool chance(struct state *s, unsigned int one_in);
uint64_t odd_number(struct state *s);			/* small, a power of two, or about the limits */
uint64_t mix(uint64_t a, uint64_t b);
uint64_t now_ns(void);

int some_file(struct state *s);				/* an open file of the device, or -1 */
struct map *some_map(struct state *s);			/* a mapping, or NULL */
struct map *free_map(struct state *s);
void let_go(struct state *s);				/* of all files and mappings */
bool touch(volatile char *at, bool write, char value);	/* false: it faulted */
void *some_buffer(struct state *s, size_t length);	/* good, unmapped, read-only, or a mapping */
void pause_ms(unsigned int ms);
int alarm_in(unsigned int ms);				/* ends a call that blocks; 0: stop the alarm */

void run_programs(struct state *s);
const char *call_name(unsigned int kind);	/* NULL after the last one */

bool kcov_start(void);
bool kcov_end(void);	/* whether the calls since the start reached code that was never reached */
void kcov_reset(void);

#endif /* FUZZ_H */
