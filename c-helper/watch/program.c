// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What runs at each access, in the #DB handler (arch/x86/kernel/hw_breakpoint.c, bpf_overflow_handler()
 * in kernel/events/core.c), preemption off:
 *
 *   1. Count the run. perf counts the hits; their difference is what no program saw.
 *   2. Leave if it is no place in this address space, or this process.
 *   3. Leave if another breakpoint has reported this access already.
 *   4. Reserve a record. In the kernel the #DB counts as an NMI, where the ring buffer only tries its
 *      lock (kernel/bpf/ringbuf.c), so try again.
 *   5. Fill and submit it.
 *
 * The registers R6 to R9 hold the context, the record, the CPU, and the process and thread.
 */
#include "insn.h"

#include <linux/perf_event.h>

/* Words of struct pt_regs (arch/x86/include/uapi/asm/ptrace.h), and their offsets. */
#define PT_REGS_WORDS 21
#define PT_REGS_IP (16 * 8)
#define PT_REGS_CS (17 * 8)

#define RESERVE_TRIES 128
/* Odd, and bits all over: spreads a word over the fingerprint. */
#define SPREAD 0x9e3779b97f4a7c15ULL

/* The stack. */
enum {
	KEY = -8,
	SCRATCH = -16,
	USER = -24,			/* WATCH_USER, of the context */
	EXACT = -32,			/* WATCH_EXACT or 0 */
	BEFORE = -64,			/* WATCH_REGISTERS counts of events */
	VALUE = -80,			/* struct watch_value */
	PLACE = -104,			/* struct watch_key */
};

#define FIELD(name) ((int)offsetof(struct watch_record, name))
#define VALUE_WORD(name) (VALUE + (int)offsetof(struct watch_value, name))
#define PLACE_WORD(name) (PLACE + (int)offsetof(struct watch_key, name))
#define WORD(i) ((i) * 8)

size_t watch_record_bytes(bool stack)
{
	return stack ? sizeof(struct watch_record) : offsetof(struct watch_record, stack);
}

/* R0 = the counts of a row, or NULL. */
static void look_up(struct watch_program *to, const struct watch_spec *spec, uint32_t row)
{
	if (row == WATCH_ROW_ALL) {
		store_imm(to, BPF_W, FP, KEY, (int32_t)(row * spec->cpus));
	} else {
		mov(to, R1, R8);
		alu_imm(to, BPF_ADD, R1, (int32_t)(row * spec->cpus));
		store(to, BPF_W, FP, KEY, R1);
	}
	mov_map(to, R1, spec->counts);
	mov(to, R2, FP);
	alu_imm(to, BPF_ADD, R2, KEY);
	call(to, BPF_FUNC_map_lookup_elem);
}

static void leave_if(struct watch_program *to, int op, int reg, int32_t imm)
{
	size_t here = jump_imm(to, op, reg, imm), after;

	after = jump_imm(to, BPF_JA, 0, 0);
	land(to, here);
	leave(to);
	land(to, after);
}

/* Read kernel memory at the address in R3 to dst + off. */
static void probe(struct watch_program *to, int dst, int off, uint32_t bytes)
{
	mov(to, R1, dst);
	alu_imm(to, BPF_ADD, R1, off);
	mov_imm(to, R2, (int32_t)bytes);
	call(to, BPF_FUNC_probe_read_kernel);
}

static void count_run(struct watch_program *to, const struct watch_spec *spec)
{
	look_up(to, spec, spec->event);
	leave_if(to, BPF_JEQ, R0, 0);
	load(to, BPF_DW, R1, R0, WORD(0));
	alu_imm(to, BPF_ADD, R1, 1);
	store(to, BPF_DW, R0, WORD(0), R1);
	load(to, BPF_DW, R1, R0, WORD(2));
	store(to, BPF_DW, FP, EXACT, R1);
}

static void filter(struct watch_program *to, const struct watch_spec *spec)
{
	call(to, BPF_FUNC_get_current_pid_tgid);
	mov(to, R9, R0);
	alu_imm(to, BPF_RSH, R0, 32);
	leave_if(to, BPF_JEQ, R0, (int32_t)spec->kernel->own_tgid);
	store_imm(to, BPF_DW, FP, PLACE_WORD(mm), 0);
	if (spec->user) {
		call(to, BPF_FUNC_get_current_task);
		mov(to, R3, R0);
		alu_imm(to, BPF_ADD, R3, (int32_t)spec->kernel->task_mm);
		probe(to, FP, PLACE_WORD(mm), 8);
		/* A kernel thread has none. */
		load(to, BPF_DW, R1, FP, PLACE_WORD(mm));
		leave_if(to, BPF_JEQ, R1, 0);
	}
	mov_wide(to, R1, spec->address);
	store(to, BPF_DW, FP, PLACE_WORD(address), R1);
	store_imm(to, BPF_DW, FP, PLACE_WORD(length), (int32_t)spec->length);
	mov_map(to, R1, spec->places);
	mov(to, R2, FP);
	alu_imm(to, BPF_ADD, R2, PLACE);
	call(to, BPF_FUNC_map_lookup_elem);
	leave_if(to, BPF_JEQ, R0, 0);
	load(to, BPF_DW, R1, R0, (int)offsetof(struct watch_value, value_address));
	store(to, BPF_DW, FP, VALUE_WORD(value_address), R1);
	load(to, BPF_DW, R1, R0, (int)offsetof(struct watch_value, number));
	store(to, BPF_DW, FP, VALUE_WORD(number), R1);
}

/*
 * An access can hit several breakpoints of a spot: for writes and for any access, and one for each piece.
 * Their programs run in one #DB, with the same registers. Each runs once in a #DB, so if this
 * event is among the noted ones it is the next access, of an instruction that changes no register.
 */
static void merge(struct watch_program *to, const struct watch_spec *spec)
{
	const int32_t bit = 1 << spec->event, wrote = spec->write ? WATCH_STATE_WROTE : 0;
	size_t other, again, report = 0;

	mov(to, R7, R9);
	for (int i = 0; i < PT_REGS_WORDS; i++) {
		mov_wide(to, R2, SPREAD);
		alu(to, BPF_MUL, R7, R2);
		load(to, BPF_DW, R1, R6, WORD(i));
		alu(to, BPF_ADD, R7, R1);
	}
	look_up(to, spec, WATCH_ROW_SPOTS + spec->spot);
	leave_if(to, BPF_JEQ, R0, 0);
	load(to, BPF_DW, R1, R0, WORD(0));
	other = jump_reg(to, BPF_JNE, R1, R7);
	load(to, BPF_DW, R1, R0, WORD(1));
	again = jump_imm(to, BPF_JSET, R1, bit);
	mov(to, R2, R1);
	alu_imm(to, BPF_OR, R1, bit | wrote);
	store(to, BPF_DW, R0, WORD(1), R1);
	if (wrote) {
		/* Reported as a read, by a breakpoint of another piece: movs from one to the other. */
		alu_imm(to, BPF_AND, R2, WATCH_STATE_WROTE);
		report = jump_imm(to, BPF_JEQ, R2, 0);
	}
	leave(to);
	land(to, other);
	land(to, again);
	store(to, BPF_DW, R0, WORD(0), R7);
	mov_imm(to, R1, bit | wrote);
	store(to, BPF_DW, R0, WORD(1), R1);
	if (wrote)
		land(to, report);
}

static void reserve(struct watch_program *to, const struct watch_spec *spec)
{
	size_t start, reserved;

	mov_imm(to, R7, RESERVE_TRIES);
	start = to->count;
	mov_map(to, R1, spec->ring);
	mov_imm(to, R2, (int32_t)watch_record_bytes(spec->stack));
	mov_imm(to, R3, 0);
	call(to, BPF_FUNC_ringbuf_reserve);
	reserved = jump_imm(to, BPF_JNE, R0, 0);
	alu_imm(to, BPF_SUB, R7, 1);
	jump_back(to, BPF_JNE, R7, 0, start);
	look_up(to, spec, WATCH_ROW_ALL);
	leave_if(to, BPF_JEQ, R0, 0);
	mov_imm(to, R1, 1);
	add_atomic(to, R0, WORD(0), R1);
	leave(to);
	land(to, reserved);
	mov(to, R7, R0);
}

/* The fields that the kernel gives. */
static void fill(struct watch_program *to, const struct watch_spec *spec)
{
	size_t none;

	call(to, BPF_FUNC_ktime_get_ns);
	store(to, BPF_DW, R7, FIELD(ns), R0);
	store(to, BPF_DW, R7, FIELD(pid_tgid), R9);
	load(to, BPF_DW, R1, R6, PT_REGS_IP);
	store(to, BPF_DW, R7, FIELD(ip), R1);
	load(to, BPF_DW, R1, FP, VALUE_WORD(number));
	store(to, BPF_W, R7, FIELD(number), R1);
	store(to, BPF_W, R7, FIELD(cpu), R8);
	mov(to, R1, R7);
	alu_imm(to, BPF_ADD, R1, FIELD(comm));
	mov_imm(to, R2, sizeof(((struct watch_record *)0)->comm));
	call(to, BPF_FUNC_get_current_comm);

	store_imm(to, BPF_DW, R7, FIELD(dropped), 0);
	look_up(to, spec, WATCH_ROW_ALL);
	none = jump_imm(to, BPF_JEQ, R0, 0);
	load(to, BPF_DW, R1, R0, WORD(0));
	store(to, BPF_DW, R7, FIELD(dropped), R1);
	land(to, none);

	load(to, BPF_DW, R1, R6, PT_REGS_CS);
	alu_imm(to, BPF_AND, R1, WATCH_USER);
	store(to, BPF_DW, FP, USER, R1);
	if (spec->write)
		alu_imm(to, BPF_OR, R1, WATCH_WRITE);
	load(to, BPF_DW, R2, FP, EXACT);
	alu(to, BPF_OR, R1, R2);
	store(to, BPF_W, R7, FIELD(flags), R1);
}

static void fill_preempt_count(struct watch_program *to, const struct watch_spec *spec)
{
	store_imm(to, BPF_DW, FP, SCRATCH, 0);
	store_imm(to, BPF_W, R7, FIELD(preempt_count), 0);
	mov(to, R3, R8);
	alu_imm(to, BPF_LSH, R3, 3);
	mov_wide(to, R1, spec->kernel->per_cpu_offset);
	alu(to, BPF_ADD, R3, R1);
	probe(to, FP, SCRATCH, 8);
	load(to, BPF_DW, R3, FP, SCRATCH);
	mov_wide(to, R1, spec->kernel->preempt_count);
	alu(to, BPF_ADD, R3, R1);
	probe(to, R7, FIELD(preempt_count), 4);
}

/* R0 = the count of an event on this CPU, or a negative errno. */
static void read_event(struct watch_program *to, const struct watch_spec *spec, uint32_t event)
{
	mov_map(to, R1, spec->events);
	mov(to, R2, R8);
	alu_imm(to, BPF_ADD, R2, (int32_t)(event * spec->cpus));
	call(to, BPF_FUNC_perf_event_read);
}

static void fill_value_and_stack(struct watch_program *to, const struct watch_spec *spec)
{
	size_t kernel;

	load(to, BPF_DW, R3, FP, VALUE_WORD(value_address));
	probe(to, R7, FIELD(value), spec->length);
	store(to, BPF_W, R7, FIELD(value_error), R0);
	mov_imm(to, R0, 0);
	if (spec->stack) {
		mov(to, R1, R6);
		mov(to, R2, R7);
		alu_imm(to, BPF_ADD, R2, FIELD(stack));
		mov_imm(to, R3, WATCH_FRAMES * 8);
		load(to, BPF_DW, R4, FP, USER);
		kernel = jump_imm(to, BPF_JEQ, R4, 0);
		mov_imm(to, R4, BPF_F_USER_STACK);
		land(to, kernel);
		call(to, BPF_FUNC_get_stack);
	}
	store(to, BPF_W, R7, FIELD(stack_bytes), R0);
}

/*
 * In a #DB from user mode the debug registers stay on (exc_debug_user() in arch/x86/kernel/traps.c), so
 * what is read here can hit a breakpoint itself. No program runs then, because one is running, but the
 * event counts it. Count these hits, to not call them lost.
 */
static void fill_unseen(struct watch_program *to, const struct watch_spec *spec)
{
	size_t kernel, again, none, error, same, gone;

	for (uint32_t i = 0; i < WATCH_REGISTERS; i++)
		store_imm(to, BPF_DW, FP, BEFORE + WORD((int)i), -1);
	load(to, BPF_DW, R1, FP, USER);
	kernel = jump_imm(to, BPF_JEQ, R1, 0);
	for (uint32_t i = 0; i < WATCH_REGISTERS; i++) {
		read_event(to, spec, i);
		store(to, BPF_DW, FP, BEFORE + WORD((int)i), R0);
	}
	land(to, kernel);
	fill_value_and_stack(to, spec);
	load(to, BPF_DW, R1, FP, USER);
	again = jump_imm(to, BPF_JEQ, R1, 0);
	for (uint32_t i = 0; i < WATCH_REGISTERS; i++) {
		read_event(to, spec, i);
		load(to, BPF_DW, R1, FP, BEFORE + WORD((int)i));
		none = jump_imm(to, BPF_JSLT, R1, 0);
		error = jump_imm(to, BPF_JSLT, R0, 0);
		same = jump_reg(to, BPF_JEQ, R0, R1);
		alu(to, BPF_SUB, R0, R1);
		store(to, BPF_DW, FP, SCRATCH, R0);
		look_up(to, spec, i);
		gone = jump_imm(to, BPF_JEQ, R0, 0);
		load(to, BPF_DW, R1, R0, WORD(1));
		load(to, BPF_DW, R2, FP, SCRATCH);
		alu(to, BPF_ADD, R1, R2);
		store(to, BPF_DW, R0, WORD(1), R1);
		land(to, none);
		land(to, error);
		land(to, same);
		land(to, gone);
	}
	land(to, again);
}

bool watch_build(const struct watch_spec *spec, struct watch_program *ret)
{
	ret->count = 0;
	ret->overflow = false;
	mov(ret, R6, R1);
	call(ret, BPF_FUNC_get_smp_processor_id);
	mov(ret, R8, R0);
	count_run(ret, spec);
	filter(ret, spec);
	merge(ret, spec);
	reserve(ret, spec);
	fill(ret, spec);
	fill_preempt_count(ret, spec);
	fill_unseen(ret, spec);
	mov(ret, R1, R7);
	mov_imm(ret, R2, 0);
	call(ret, BPF_FUNC_ringbuf_submit);
	leave(ret);
	return !ret->overflow;
}
