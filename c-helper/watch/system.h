/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System calls without a wrapper in the C library. They return a file or 0, or a negative errno. */
#ifndef WATCH_SYSTEM_H
#define WATCH_SYSTEM_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int bpf_map_new(enum bpf_map_type type, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries, uint32_t flags);
int bpf_map_set(int map, const void *key, const void *value);
int bpf_map_delete(int map, const void *key);
/* log: receives the verifier's words; may be NULL. */
int bpf_program_load(const struct bpf_insn *insns, size_t count, char *log, size_t log_bytes);

/* A breakpoint on one CPU. type: HW_BREAKPOINT_W or HW_BREAKPOINT_RW. leader: file of its group, or -1. */
int breakpoint_open(uint64_t address, uint32_t bytes, uint32_t type, uint32_t cpu, int leader);
int breakpoint_set_program(int event, int program);
int breakpoint_enable(int event, bool on);
int breakpoint_count(int event, uint64_t *ret);

#endif
