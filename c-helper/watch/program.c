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
#include "parts.h"

#define RESERVE_TRIES 128
/* Odd, and bits all over: spreads a word over the fingerprint. */
#define SPREAD 0x9e3779b97f4a7c15ULL

size_t watch_record_bytes(bool stack)
{
	return stack ? sizeof(struct watch_record) : offsetof(struct watch_record, stack);
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

/* The preempt count of this CPU, and the context's ring. */
static void read_context(struct watch_program *to, const struct watch_spec *spec)
{
	store_imm(to, BPF_DW, FP, SCRATCH, 0);
	store_imm(to, BPF_DW, FP, PREEMPT, 0);
	mov(to, R3, R8);
	alu_imm(to, BPF_LSH, R3, 3);
	mov_wide(to, R1, spec->kernel->per_cpu_offset);
	alu(to, BPF_ADD, R3, R1);
	probe(to, FP, SCRATCH, 8);
	load(to, BPF_DW, R3, FP, SCRATCH);
	mov_wide(to, R1, spec->kernel->preempt_count);
	alu(to, BPF_ADD, R3, R1);
	probe(to, FP, PREEMPT, 4);
	load(to, BPF_DW, R1, R6, PT_REGS_CS);
	alu_imm(to, BPF_AND, R1, WATCH_USER);
	store(to, BPF_DW, FP, USER, R1);
}

/* This process's own accesses do not count, but those of an interrupt that came in meanwhile do. */
static void filter_own(struct watch_program *to, const struct watch_spec *spec)
{
	size_t other, user, softirq, hardirq;

	call(to, BPF_FUNC_get_current_pid_tgid);
	mov(to, R9, R0);
	alu_imm(to, BPF_RSH, R0, 32);
	other = jump_imm(to, BPF_JNE, R0, (int32_t)spec->kernel->own_tgid);
	load(to, BPF_DW, R1, FP, USER);
	user = jump_imm(to, BPF_JNE, R1, 0);
	load(to, BPF_DW, R1, FP, PREEMPT);
	softirq = jump_imm(to, BPF_JSET, R1, WATCH_SOFTIRQ);
	alu_imm(to, BPF_AND, R1, WATCH_HARDIRQ);
	hardirq = jump_imm(to, BPF_JGT, R1, WATCH_HARDIRQ_HANDLER);
	land(to, user);
	leave(to);
	land(to, other);
	land(to, softirq);
	land(to, hardirq);
}

static void filter_place(struct watch_program *to, const struct watch_spec *spec)
{
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
 *
 * QEMU hits the first breakpoint of an access only. But it may report the one of the access before
 * again, after the right one, until the debug registers are written (check_hw_breakpoints() in QEMU). So
 * there the first one of all spots counts.
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
	look_up(to, spec, WATCH_ROW_SPOTS + (spec->emulated ? 0 : spec->spot));
	leave_if(to, BPF_JEQ, R0, 0);
	load(to, BPF_DW, R1, R0, WORD(0));
	other = jump_reg(to, BPF_JNE, R1, R7);
	load(to, BPF_DW, R1, R0, WORD(1));
	again = jump_imm(to, BPF_JSET, R1, bit);
	mov(to, R2, R1);
	alu_imm(to, BPF_OR, R1, bit | wrote);
	store(to, BPF_DW, R0, WORD(1), R1);
	if (wrote && !spec->emulated) {
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
	if (report)
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

bool watch_build(const struct watch_spec *spec, struct watch_program *ret)
{
	ret->count = 0;
	ret->overflow = false;
	mov(ret, R6, R1);
	call(ret, BPF_FUNC_get_smp_processor_id);
	mov(ret, R8, R0);
	count_run(ret, spec);
	filter_place(ret, spec);
	read_context(ret, spec);
	filter_own(ret, spec);
	merge(ret, spec);
	reserve(ret, spec);
	watch_fill(ret, spec);
	mov(ret, R1, R7);
	mov_imm(ret, R2, 0);
	call(ret, BPF_FUNC_ringbuf_submit);
	leave(ret);
	return !ret->overflow;
}
