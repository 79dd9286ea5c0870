/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An assembler for BPF: one function per kind of instruction. */
#ifndef WATCH_INSN_H
#define WATCH_INSN_H

#include "spec.h"

enum { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP };

static inline void emit(struct watch_program *to, int code, int dst, int src, int off, int32_t imm)
{
	if (to->count >= WATCH_INSNS) {
		to->overflow = true;
		return;
	}
	to->insns[to->count++] = (struct bpf_insn){
		.code = (uint8_t)code, .dst_reg = (uint8_t)(dst & 15), .src_reg = (uint8_t)(src & 15),
		.off = (int16_t)off, .imm = imm,
	};
}

/* dst = src, and operations such as BPF_ADD with a register or a number. */
static inline void mov(struct watch_program *to, int dst, int src)
{
	emit(to, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static inline void mov_imm(struct watch_program *to, int dst, int32_t imm)
{
	emit(to, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm);
}

static inline void alu(struct watch_program *to, int op, int dst, int src)
{
	emit(to, BPF_ALU64 | op | BPF_X, dst, src, 0, 0);
}

static inline void alu_imm(struct watch_program *to, int op, int dst, int32_t imm)
{
	emit(to, BPF_ALU64 | op | BPF_K, dst, 0, 0, imm);
}

/* dst = a number of 64 bits, or the map of a file. */
static inline void mov_wide(struct watch_program *to, int dst, uint64_t value)
{
	emit(to, BPF_LD | BPF_DW | BPF_IMM, dst, 0, 0, (int32_t)(uint32_t)value);
	emit(to, 0, 0, 0, 0, (int32_t)(uint32_t)(value >> 32));
}

static inline void mov_map(struct watch_program *to, int dst, int fd)
{
	emit(to, BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd);
	emit(to, 0, 0, 0, 0, 0);
}

/* size: BPF_DW or BPF_W. */
static inline void load(struct watch_program *to, int size, int dst, int src, int off)
{
	emit(to, BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

static inline void store(struct watch_program *to, int size, int dst, int off, int src)
{
	emit(to, BPF_STX | BPF_MEM | size, dst, src, off, 0);
}

static inline void store_imm(struct watch_program *to, int size, int dst, int off, int32_t imm)
{
	emit(to, BPF_ST | BPF_MEM | size, dst, 0, off, imm);
}

static inline void add_atomic(struct watch_program *to, int dst, int off, int src)
{
	/* BPF_XADD; newer headers call it BPF_ATOMIC with BPF_ADD. */
	emit(to, BPF_STX | 0xc0 | BPF_DW, dst, src, off, BPF_ADD);
}

static inline void call(struct watch_program *to, int helper)
{
	emit(to, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

static inline void leave(struct watch_program *to)
{
	mov_imm(to, R0, 0);
	emit(to, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* A jump forward to where land() is called with its result. op: BPF_JEQ and so on. */
static inline size_t jump_imm(struct watch_program *to, int op, int reg, int32_t imm)
{
	emit(to, BPF_JMP | op | BPF_K, reg, 0, 0, imm);
	return to->count - 1;
}

static inline size_t jump_reg(struct watch_program *to, int op, int reg, int other)
{
	emit(to, BPF_JMP | op | BPF_X, reg, other, 0, 0);
	return to->count - 1;
}

static inline void land(struct watch_program *to, size_t jump)
{
	to->insns[jump].off = (int16_t)(to->count - jump - 1);
}

/* A jump back to an instruction. */
static inline void jump_back(struct watch_program *to, int op, int reg, int32_t imm, size_t target)
{
	emit(to, BPF_JMP | op | BPF_K, reg, 0, (int)target - (int)to->count - 1, imm);
}

#endif
