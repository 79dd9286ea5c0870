/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a BPF program of a watch on this CPU, with a world of its own in place of the kernel. Pointers are
 * real, so AddressSanitizer sees a stray access.
 */
#ifndef BPF_RUN_H
#define BPF_RUN_H

#include <stdlib.h>
#include <string.h>

#include "spec.h"
#include "tables.h"

#define WORLD_CPUS 2
#define WORLD_ROWS (WATCH_ROW_ALL * WORLD_CPUS + 1)
#define WORLD_RECORDS 16
#define PT_REGS 21

enum { COUNTS_MAP = 101, RING_MAP, EVENTS_MAP, PLACES_MAP };

struct world {
	uint64_t regs[PT_REGS];
	uint64_t cpu, pid_tgid, mm;
	uint32_t preempt_count;
	uint8_t memory[WATCH_VALUE_BYTES];	/* at VALUE_ADDRESS */
	struct watch_counts counts[WORLD_ROWS];
	struct watch_key key;
	struct watch_value value;
	uint64_t event[WATCH_REGISTERS];	/* counts of perf; a probe of the value hits event 0 */
	bool probe_hits;
	unsigned int busy;		/* number of times that the ring's lock is taken */
	bool full;
	int missing;			/* this look-up from now on fails; 0: none */
	void *reserved;			/* not submitted yet */
	struct watch_record records[WORLD_RECORDS];
	size_t count;
	uint64_t stack_flags;
};

#define TASK 0xffff888001000000ULL
#define TASK_MM 0x950
#define PER_CPU_OFFSET 0xffffffff82400000ULL
#define PREEMPT_COUNT 0x1a2b8ULL
#define PER_CPU(cpu) (0xffff88803ec00000ULL + ((cpu) << 16))
#define VALUE_ADDRESS 0xffff888012345678ULL
#define NOW 123456789ULL
#define STACK_WORD 0x1234500000000ULL

static inline int64_t world_probe(struct world *world, void *to, uint64_t bytes, uint64_t address)
{
	const uint64_t cpu_base = PER_CPU(world->cpu);

	if (address == TASK + TASK_MM && bytes == 8) {
		memcpy(to, &world->mm, 8);
	} else if (address == PER_CPU_OFFSET + 8 * world->cpu && bytes == 8) {
		memcpy(to, &cpu_base, 8);
	} else if (address == cpu_base + PREEMPT_COUNT && bytes == 4) {
		memcpy(to, &world->preempt_count, 4);
	} else if (address == VALUE_ADDRESS && bytes <= sizeof(world->memory)) {
		memcpy(to, world->memory, bytes);
		world->event[0] += world->probe_hits;
	} else {
		memset(to, 0, bytes);
		return -14;
	}
	return 0;
}

static inline void *world_look_up(struct world *world, uint64_t map, const void *key)
{
	if (world->missing && !--world->missing)
		return NULL;
	if (map == PLACES_MAP)
		return memcmp(key, &world->key, sizeof(world->key)) ? NULL : &world->value;
	if (map != COUNTS_MAP || *(const uint32_t *)key >= WORLD_ROWS)
		abort();
	return &world->counts[*(const uint32_t *)key];
}

static inline void *world_reserve(struct world *world, uint64_t bytes)
{
	if (world->reserved)
		abort();
	if (world->full)
		return NULL;
	if (world->busy) {
		world->busy--;
		return NULL;
	}
	world->reserved = malloc(bytes);
	return world->reserved;
}

static inline void world_submit(struct world *world, void *record, bool stack)
{
	if (record != world->reserved || world->count == WORLD_RECORDS)
		abort();
	memcpy(&world->records[world->count++], record, watch_record_bytes(stack));
	free(record);
	world->reserved = NULL;
}

static inline void *pointer(uint64_t value)
{
	return (void *)(uintptr_t)value;
}

static inline uint64_t world_call(struct world *world, int helper, const uint64_t *r, bool stack)
{
	switch (helper) {
	case BPF_FUNC_get_smp_processor_id:
		return world->cpu;
	case BPF_FUNC_get_current_pid_tgid:
		return world->pid_tgid;
	case BPF_FUNC_get_current_task:
		return TASK;
	case BPF_FUNC_ktime_get_ns:
		return NOW;
	case BPF_FUNC_get_current_comm:
		snprintf(pointer(r[1]), r[2], "comm");
		return 0;
	case BPF_FUNC_probe_read_kernel:
		return (uint64_t)world_probe(world, pointer(r[1]), r[2], r[3]);
	case BPF_FUNC_map_lookup_elem:
		return (uintptr_t)world_look_up(world, r[1], pointer(r[2]));
	case BPF_FUNC_perf_event_read:
		/* Only event 0 and 1 exist. */
		if (r[2] / WORLD_CPUS > 1 || r[2] % WORLD_CPUS != world->cpu)
			return (uint64_t)-2;
		return world->event[r[2] / WORLD_CPUS];
	case BPF_FUNC_ringbuf_reserve:
		return (uintptr_t)world_reserve(world, r[2]);
	case BPF_FUNC_ringbuf_submit:
		world_submit(world, pointer(r[1]), stack);
		return 0;
	case BPF_FUNC_get_stack:
		world->stack_flags = r[4];
		memset(pointer(r[2]), 0, r[3]);
		*(uint64_t *)pointer(r[2]) = STACK_WORD;
		return 8;
	default:
		abort();
	}
}

static inline bool jumps(int op, uint64_t a, uint64_t b)
{
	switch (op) {
	case BPF_JA: return true;
	case BPF_JEQ: return a == b;
	case BPF_JNE: return a != b;
	case BPF_JSET: return a & b;
	case BPF_JGT: return a > b;
	case BPF_JSLT: return (int64_t)a < (int64_t)b;
	default: abort();
	}
}

static inline uint64_t computes(int op, uint64_t a, uint64_t b)
{
	switch (op) {
	case BPF_MOV: return b;
	case BPF_ADD: return a + b;
	case BPF_SUB: return a - b;
	case BPF_MUL: return a * b;
	case BPF_AND: return a & b;
	case BPF_OR: return a | b;
	case BPF_LSH: return a << b;
	case BPF_RSH: return a >> b;
	default: abort();
	}
}

/* Loads and stores: the memory is at the given side's register, plus off. */
static inline void moves(const struct bpf_insn *it, uint64_t *r)
{
	const size_t bytes = BPF_SIZE(it->code) == BPF_DW ? 8 : 4;
	const bool loads = BPF_CLASS(it->code) == BPF_LDX;
	char *memory = (char *)pointer(r[loads ? it->src_reg : it->dst_reg]) + it->off;
	uint64_t word = BPF_CLASS(it->code) == BPF_ST ? (uint64_t)(int64_t)it->imm : r[it->src_reg];

	if (loads) {
		r[it->dst_reg] = 0;
		memcpy(&r[it->dst_reg], memory, bytes);
	} else if (BPF_MODE(it->code) == BPF_MEM) {
		memcpy(memory, &word, bytes);
	} else {
		*(uint64_t *)(void *)memory += word;
	}
}

static inline void world_run(struct world *world, const struct watch_program *program, bool stack)
{
	uint64_t *frame = malloc(512), r[11] = { 0 };

	r[1] = (uintptr_t)world->regs;
	r[10] = (uintptr_t)frame + 512;
	for (size_t i = 0; i < program->count; i++) {
		const struct bpf_insn *it = &program->insns[i];
		const uint64_t imm = (uint64_t)(int64_t)it->imm;
		const uint64_t other = BPF_SRC(it->code) == BPF_X ? r[it->src_reg] : imm;

		switch (BPF_CLASS(it->code)) {
		case BPF_ALU64:
			r[it->dst_reg] = computes(BPF_OP(it->code), r[it->dst_reg], other);
			break;
		case BPF_LD:
			r[it->dst_reg] = (uint32_t)it->imm | (uint64_t)(uint32_t)it[1].imm << 32;
			i++;
			break;
		case BPF_JMP:
			if (it->code == (BPF_JMP | BPF_EXIT)) {
				free(frame);
				return;
			}
			if (it->code == (BPF_JMP | BPF_CALL))
				r[0] = world_call(world, it->imm, r, stack);
			else if (jumps(BPF_OP(it->code), r[it->dst_reg], other))
				i = (size_t)((int64_t)i + it->off);
			break;
		default:
			moves(it, r);
		}
	}
	abort();
}

#endif
