/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the program share. The registers R6 to R9 hold the context, the record, the CPU, and
 * the process and thread.
 */
#ifndef WATCH_PARTS_H
#define WATCH_PARTS_H

#include "insn.h"

/* Words of struct pt_regs (arch/x86/include/uapi/asm/ptrace.h), and their offsets. */
#define PT_REGS_WORDS 21
#define PT_REGS_IP (16 * 8)
#define PT_REGS_CS (17 * 8)

/* The stack. */
enum {
	KEY = -8,
	SCRATCH = -16,
	USER = -24,			/* WATCH_USER, of the context */
	EXACT = -32,			/* WATCH_EXACT or 0 */
	BEFORE = -64,			/* WATCH_REGISTERS counts of events */
	VALUE = -80,			/* struct watch_value */
	PLACE = -104,			/* struct watch_key */
	PREEMPT = -112,
};

#define FIELD(name) ((int)offsetof(struct watch_record, name))
#define VALUE_WORD(name) (VALUE + (int)offsetof(struct watch_value, name))
#define PLACE_WORD(name) (PLACE + (int)offsetof(struct watch_key, name))
#define WORD(i) ((i) * 8)

/* R0 = the counts of a row, or NULL. */
static inline void look_up(struct watch_program *to, const struct watch_spec *spec, uint32_t row)
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

static inline void leave_if(struct watch_program *to, int op, int reg, int32_t imm)
{
	size_t here = jump_imm(to, op, reg, imm), after;

	after = jump_imm(to, BPF_JA, 0, 0);
	land(to, here);
	leave(to);
	land(to, after);
}

/* Read kernel memory at the address in R3 to dst + off. */
static inline void probe(struct watch_program *to, int dst, int off, uint32_t bytes)
{
	mov(to, R1, dst);
	alu_imm(to, BPF_ADD, R1, off);
	mov_imm(to, R2, (int32_t)bytes);
	call(to, BPF_FUNC_probe_read_kernel);
}

/* fill.c: fill the record that R7 points at. */
void watch_fill(struct watch_program *to, const struct watch_spec *spec);

#endif
