/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watching memory of this machine: hardware breakpoints of perf, each with a BPF program that writes
 * a record of the access to a ring buffer. Nobody is stopped. Linux 5.10 or newer, x86_64.
 *
 *   debug register ── #DB ── perf event ── BPF program ── ring buffer ── watch_read()
 *    one a CPU                one a CPU     program.c       ring.c
 *
 * Functions return 0, or a negative errno with a message in the context.
 */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Debug registers of a CPU, and bytes that one covers. */
#define WATCH_REGISTERS 4
#define WATCH_REGISTER_BYTES 8
#define WATCH_VALUE_BYTES (WATCH_REGISTERS * WATCH_REGISTER_BYTES)
#define WATCH_FRAMES 32
/* Places of a watch. Those with one address in several processes share registers. */
#define WATCH_PLACES 1024

#define WATCH_USER 0x3u			/* of flags: the CPU's ring; 0: kernel */
#define WATCH_WRITE 0x100u		/* of flags */
#define WATCH_EXACT 0x200u		/* of flags: without WATCH_WRITE it is a read */

/*
 * Bits of the preempt count (include/linux/preempt.h), and what the handler of a #DB in the kernel adds to
 * them (__nmi_enter() in include/linux/hardirq.h).
 */
#define WATCH_SOFTIRQ 0x100
#define WATCH_HARDIRQ 0xf0000
#define WATCH_HARDIRQ_HANDLER 0x10000

/* What the BPF program writes. */
struct watch_record {
	uint64_t ns;			/* CLOCK_MONOTONIC */
	uint64_t pid_tgid;
	uint64_t ip;			/* of the instruction after the access */
	uint64_t dropped;		/* records that did not fit, until now */
	uint32_t number;
	uint32_t cpu;
	uint32_t flags;
	uint32_t preempt_count;		/* of the interrupted code, with the #DB handler's own part */
	int32_t value_error;		/* 0, or a negative errno */
	int32_t stack_bytes;		/* or a negative errno */
	char comm[16];
	uint8_t value[WATCH_VALUE_BYTES];
	uint64_t stack[WATCH_FRAMES];	/* absent unless wanted */
};

/* Kernel addresses and offsets, for the BPF programs. */
struct watch_kernel {
	uint64_t per_cpu_offset;	/* address of __per_cpu_offset[] */
	uint64_t preempt_count;		/* address of the variable, in the image of per-CPU variables */
	uint32_t task_mm;		/* offset of mm in struct task_struct */
	uint32_t own_tgid;		/* whose accesses are ignored */
};

struct watch_options {
	size_t ring_bytes;		/* a power of two, of whole pages */
	bool writes_only;		/* reads are no hits */
	bool stack;			/* records have one */
};

struct watch_place {
	uint32_t number;
	uint64_t address;
	uint32_t length;
	uint64_t value_address;		/* of the same bytes, in the direct map */
	uint64_t mm;			/* of a user address; 0: a kernel address */
};

struct watch;

/*
 * Create the maps. cpus: numbers of the CPUs to watch. ret: also set if the result is negative, for its
 * message; destroy it then too.
 */
int watch_create(const struct watch_kernel *kernel, const uint32_t *cpus, size_t cpus_count,
		 const struct watch_options *options, struct watch **ret);
void watch_destroy(struct watch *watch);

/*
 * Watch a place on all CPUs. -ENOSPC: no debug register is left. -EEXIST: the place is watched already.
 * An address gets two registers for each piece of its length if they are free, so that reads and writes
 * differ; a later one may take the second ones back. Processes that use one address share them.
 */
int watch_arm(struct watch *watch, const struct watch_place *place);
/* Nothing happens if no place has the number. */
void watch_disarm(struct watch *watch, uint32_t number);
void watch_disarm_all(struct watch *watch);
/* Whether the reads of an armed place are distinguished from its writes now. */
bool watch_is_exact(const struct watch *watch, uint32_t number);

/* The next record: 1, or 0 if there is none. */
int watch_read(struct watch *watch, struct watch_record *ret);
/* A file that is readable when there are records. */
int watch_fd(const struct watch *watch);
/* Accesses that have no record, until now. While accesses happen it may be too high by one for each CPU. */
uint64_t watch_lost(struct watch *watch);
/* Registers that its places need; second ones do not count. */
uint32_t watch_used(const struct watch *watch);
/* Of the pieces of a length at an address, each of which needs a debug register. */
uint32_t watch_pieces(uint64_t address, uint32_t length);
/*
 * Whether QEMU emulates the CPU. Then an access hits only the first of several breakpoints for it, and an
 * instruction that reads and writes memory (but no atomic one) hits those for reads (cpu_check_watchpoint()
 * in QEMU). A breakpoint may be reported again, with the next one.
 */
bool watch_is_emulated(void);

const char *watch_message(const struct watch *watch);

#endif
