// SPDX-License-Identifier: GPL-2.0-or-later
/* bpf(2) and perf_event_open(2). */
#include "system.h"

#include <errno.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(enum bpf_cmd cmd, union bpf_attr *attr)
{
	long ret = syscall(__NR_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : (int)ret;
}

int bpf_map_new(enum bpf_map_type type, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries, uint32_t flags)
{
	union bpf_attr attr;

	/* bpf() refuses bytes that are not zero behind the known members. */
	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = key_bytes;
	attr.value_size = value_bytes;
	attr.max_entries = entries;
	attr.map_flags = flags;
	return bpf(BPF_MAP_CREATE, &attr);
}

int bpf_map_set(int map, const void *key, const void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value;
	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

int bpf_map_delete(int map, const void *key)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map;
	attr.key = (uintptr_t)key;
	return bpf(BPF_MAP_DELETE_ELEM, &attr);
}

int bpf_program_load(const struct bpf_insn *insns, size_t count, char *log, size_t log_bytes)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_PERF_EVENT;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = (uint32_t)count;
	attr.license = (uintptr_t)"GPL";
	if (log) {
		attr.log_level = 1;
		attr.log_buf = (uintptr_t)log;
		attr.log_size = (uint32_t)log_bytes;
	}
	return bpf(BPF_PROG_LOAD, &attr);
}

int breakpoint_open(uint64_t address, uint32_t bytes, uint32_t type, uint32_t cpu, int leader)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.sample_period = 1,
		.bp_type = type,
		.bp_addr = address,
		.bp_len = bytes,
		/* A member of a group waits for its leader. */
		.disabled = leader < 0,
	};
	long ret = syscall(__NR_perf_event_open, &attr, -1, (int)cpu, leader, PERF_FLAG_FD_CLOEXEC);

	return ret < 0 ? -errno : (int)ret;
}

int breakpoint_set_program(int event, int program)
{
	return ioctl(event, PERF_EVENT_IOC_SET_BPF, program) ? -errno : 0;
}

int breakpoint_enable(int event, bool on)
{
	return ioctl(event, on ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, 0) ? -errno : 0;
}

int breakpoint_count(int event, uint64_t *ret)
{
	ssize_t got = read(event, ret, sizeof(*ret));

	if (got < 0)
		return -errno;
	return got == sizeof(*ret) ? 0 : -EIO;
}
