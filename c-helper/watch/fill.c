// SPDX-License-Identifier: GPL-2.0-or-later
/* The part of the program that fills a record. */
#include "parts.h"

/* The fields that the kernel gives. */
static void fill_known(struct watch_program *to, const struct watch_spec *spec)
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

	load(to, BPF_DW, R1, FP, PREEMPT);
	store(to, BPF_W, R7, FIELD(preempt_count), R1);
	load(to, BPF_DW, R1, FP, USER);
	if (spec->write)
		alu_imm(to, BPF_OR, R1, WATCH_WRITE);
	load(to, BPF_DW, R2, FP, EXACT);
	alu(to, BPF_OR, R1, R2);
	store(to, BPF_W, R7, FIELD(flags), R1);
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

void watch_fill(struct watch_program *to, const struct watch_spec *spec)
{
	fill_known(to, spec);
	fill_unseen(to, spec);
}
