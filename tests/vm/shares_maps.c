// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps the kernel's own memory, BPF maps or the vDSO, and sleeps.
 *
 *   shares_maps OUTPUT bpf|vdso
 */
#include <linux/bpf.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "shares_maps.h"

/* Old headers lack them. */
#define NEWTIME 0x80		/* CLONE_NEWTIME */
#define MAP_TYPE_ARENA 33	/* BPF_MAP_TYPE_ARENA */

/* bpf */

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int bpf_map(const char *name, uint32_t type, uint32_t value_bytes, uint32_t entries,
		   uint32_t flags)
{
	union bpf_attr attr = {
		.map_type = type,
		.key_size = type == BPF_MAP_TYPE_ARRAY ? 4 : 0,
		.value_size = value_bytes,
		.max_entries = entries,
		.map_flags = flags,
	};

	memcpy(attr.map_name, name, strlen(name));
	return bpf(BPF_MAP_CREATE, &attr);
}

static struct region map_bpf(const char *label, const char *part, int fd, int prot, size_t pages,
			     size_t first_page, size_t region_pages)
{
	char *address = checked(mmap(NULL, pages * PAGE, prot, MAP_SHARED, fd,
				     (off_t)first_page * PAGE), label);
	struct region region = region_at(label, "bpf", part, address, pages);

	region.first_page = first_page;
	region.region_pages = region_pages;
	region.touched = (1ULL << pages) - 1;	/* mmap() itself maps all of it */
	return region;
}

#define RECORD 0x6b65726e656c2121ULL	/* "!!lenrek" */

#define INSN(c, d, s, o, i) \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (int)(i) })
#define LOAD64(dst, src, low, high) \
	INSN(BPF_LD | BPF_DW | BPF_IMM, dst, src, 0, low), INSN(0, 0, 0, 0, high)

/* Makes the kernel write RECORD into the fifth page of the array and as a record into the ring. */
static void run_program(int array, int ring)
{
	struct bpf_insn code[] = {
		LOAD64(BPF_REG_6, 0, RECORD, RECORD >> 32),
		LOAD64(BPF_REG_1, BPF_PSEUDO_MAP_VALUE, array, 4 * PAGE),
		INSN(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_1, BPF_REG_6, 0, 0),
		INSN(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, BPF_REG_6, -8, 0),
		LOAD64(BPF_REG_1, BPF_PSEUDO_MAP_FD, ring, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	char log[4096] = "", packet[64] = "";
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		.license = (uintptr_t)"GPL",
		.log_buf = (uintptr_t)log,
		.log_size = sizeof(log),
		.log_level = 1,
	};
	int program = bpf(BPF_PROG_LOAD, &load);
	union bpf_attr run = { .test.prog_fd = (uint32_t)program };

	if (program < 0)
		die(log);
	run.test.data_in = (uintptr_t)packet;
	run.test.data_size_in = sizeof(packet);
	run.test.repeat = 1;
	if (bpf(BPF_PROG_TEST_RUN, &run))
		die("BPF_PROG_TEST_RUN");
}

static void bpf_arrays_and_ring(void)
{
	int array = checked_fd(bpf_map("pp_array", BPF_MAP_TYPE_ARRAY, 5 * PAGE, 1, BPF_F_MMAPABLE),
			       "array");
	int odd = checked_fd(bpf_map("pp_odd", BPF_MAP_TYPE_ARRAY, 20, 300, BPF_F_MMAPABLE), "odd");
	int ring = checked_fd(bpf_map("pp_ring", BPF_MAP_TYPE_RINGBUF, 0, 4 * PAGE, 0), "ring");
	struct region region;

	run_program(array, ring);
	region = map_bpf("array", "array", array, READ_WRITE, 5, 0, 5);
	region.offset = 64;
	write_pages(&region, 0x1f);
	report(&region);
	region = map_bpf("array-part", "array", array, PROT_READ, 2, 3, 5);
	report(&region);
	region = map_bpf("replaced", "array", array, READ_WRITE, 5, 0, 5);
	replace_page(&region, 2);
	region = map_bpf("odd", "array", odd, READ_WRITE, 2, 0, 2);	/* 300 * 24 bytes */
	write_pages(&region, 0x3);
	report(&region);

	region = map_bpf("consumer", "ringbuf", ring, READ_WRITE, 1, 0, 10);
	region.offset = 64;	/* behind the position, which the kernel reads */
	write_pages(&region, 0x1);
	report(&region);
	region = map_bpf("producer", "ringbuf", ring, PROT_READ, 9, 1, 10);
	report(&region);
}

static void bpf_user_ring(void)
{
	int fd = bpf_map("pp_user", BPF_MAP_TYPE_USER_RINGBUF, 0, 2 * PAGE, 0);
	struct region region;

	if (fd < 0)
		return;		/* since 6.1 */
	region = map_bpf("user-ring", "ringbuf", fd, READ_WRITE, 5, 1, 6);
	region.offset = 64;
	write_pages(&region, 0x7);
	report(&region);
}

static void bpf_arena(void)
{
	int fd = bpf_map("pp_arena", MAP_TYPE_ARENA, 0, 16, BPF_F_MMAPABLE);
	struct region region;

	if (fd < 0)
		return;		/* since 6.9 */
	region = map_bpf("arena", "arena", fd, READ_WRITE, 16, 0, 16);
	region.touched = 0;
	write_pages(&region, 0x8009);
	report(&region);
}

static void all_bpf(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	/* Before 5.11 maps count as locked memory, even root's. */
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited))
		die("RLIMIT_MEMLOCK");
	bpf_arrays_and_ring();
	bpf_user_ring();
	bpf_arena();
}

/* vdso */

static sigjmp_buf after_fault;

static void on_fault(int number)
{
	siglongjmp(after_fault, number);
}

/* Which pages can be read. Pages without content on this machine raise SIGBUS. */
static uint64_t read_pages(const char *address, size_t pages)
{
	volatile uint64_t can = 0;

	signal(SIGBUS, on_fault);
	for (volatile size_t page = 0; page < pages; page++) {
		if (sigsetjmp(after_fault, 1))
			continue;
		(void)*(const volatile char *)(address + page * PAGE);
		can |= 1ULL << page;
	}
	return can;
}

static struct region special(const char *label, const char *part)
{
	FILE *file = fopen("/proc/self/maps", "r");
	struct region region = region_at(label, "vdso", part, NULL, 0);
	uintptr_t start, end;
	char line[512], name[64];

	snprintf(name, sizeof(name), "[%s]\n", part);
	if (!file)
		die("maps");
	while (fgets(line, sizeof(line), file)) {
		if (!strstr(line, name) ||
		    sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) != 2)
			continue;
		region.address = (char *)start;
		region.pages = region.region_pages = (end - start) / PAGE;
	}
	fclose(file);
	if (!region.pages) {
		errno = ENOENT;
		die(part);
	}
	return region;
}

static void read_special(const char *label, const char *part)
{
	struct region region = special(label, part);

	region.touched = read_pages(region.address, region.pages);
	report(&region);
}

static void vdso_copied(void)
{
	struct region region = special("vdso-copied", "vdso");

	if (mprotect(region.address, region.pages * PAGE, READ_WRITE | PROT_EXEC))
		die("mprotect");
	region.address[PAGE - 1] ^= 1;	/* a copy is made */
	region.touched = 1;
	report(&region);
}

static void vdso_replaced(void)
{
	struct region region = special("vdso-replaced", "vdso");

	/* In one piece, because these mappings cannot be split (871402e05b24, 5.11). */
	replace(region.address, region.pages * PAGE);
	region.kind = "none";
	report(&region);
}

static void vdso_time_namespace(void)
{
	read_special("vvar-timens", "vvar");
}

static void all_vdso(void)
{
	read_special("vdso", "vdso");
	read_special("vvar", "vvar");
	in_child(vdso_copied);
	in_child(vdso_replaced);
	/* Applies to children from here on. */
	if (unshare(NEWTIME))
		die("CLONE_NEWTIME");
	in_child(vdso_time_namespace);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	begin(argv[1]);
	if (!strcmp(argv[2], "bpf"))
		all_bpf();
	else if (!strcmp(argv[2], "vdso"))
		all_vdso();
	else
		return 2;
	end(argv[1]);
}
