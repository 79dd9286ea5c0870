// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Checks each refusal of /dev/umh_shm with its errno in umh_shm_abi.h, and what a
 * mapping must not do later. Run as root in a guest.
 *
 *   device_test others LENGTH     module loaded with allow_any=0
 *   device_test any LENGTH        module loaded with allow_any=1
 *
 * LENGTH: bytes of the region. One line per check: "ok NAME" or "not ok NAME: WHY".
 * Exit status 1 if any is not ok.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "umh_shm_abi.h"

#define DEVICE "/dev/" UMH_SHM_DEVICE
#define RW (PROT_READ | PROT_WRITE)

static size_t page, length;
static bool failed;

static __attribute__((format(printf, 3, 4))) void check(bool good, const char *name,
							 const char *why, ...)
{
	va_list args;

	if (good) {
		printf("ok %s\n", name);
		return;
	}
	failed = true;
	printf("not ok %s: ", name);
	va_start(args, why);
	vprintf(why, args);
	va_end(args);
	putchar('\n');
}

/* @result of a system call must be -1 with errno @expected. */
static void check_errno(long result, int expected, const char *name)
{
	int got = result == -1 ? errno : 0;

	check(got == expected, name, "%s, not %s", got ? strerrorname_np(got) : "no error",
	      expected ? strerrorname_np(expected) : "success");
}

static int open_device(int flags)
{
	int fd = open(DEVICE, flags | O_CLOEXEC);

	if (fd < 0) {
		printf("not ok open: %s: %s\n", DEVICE, strerror(errno));
		exit(1);
	}
	return fd;
}

static void *map_region(int fd, int prot)
{
	void *base = mmap(NULL, length, prot, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED) {
		printf("not ok mmap: %s\n", strerror(errno));
		exit(1);
	}
	return base;
}

#define EXIT_FAULT 42

static void exit_fault(int number)
{
	(void)number;
	_exit(EXIT_FAULT);
}

/*
 * A child whose exit status reports a fault. It catches the signal, so that the
 * kernel does not log it.
 */
static pid_t fork_to_fault(void)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child)
		signal(SIGSEGV, exit_fault);
	return child;
}

static void check_faulted(pid_t child, const char *name)
{
	int status = 0;

	waitpid(child, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAULT, name, "status %#x",
	      (unsigned int)status);
}

/* One mmap() and its expected result. Offsets and lengths in pages. */
struct mmap_case {
	const char *name;
	int open_flags, prot, flags;
	/* With *_from_end, the region's number of pages is added. */
	uint64_t pages, offset;
	bool pages_from_end, offset_from_end;
	int expected;
};

static const struct mmap_case mmap_cases[] = {
	{ "mmap whole region", O_RDWR, RW, MAP_SHARED, 0, 0, true, false, 0 },
	{ "mmap whole region read-only", O_RDWR, PROT_READ, MAP_SHARED, 0, 0, true, false, 0 },
	{ "mmap read-only open", O_RDONLY, PROT_READ, MAP_SHARED, 0, 0, true, false, 0 },
	{ "mmap last page", O_RDWR, RW, MAP_SHARED, 1, -1ULL, false, true, 0 },
	{ "mmap MAP_SHARED_VALIDATE", O_RDWR, RW, MAP_SHARED_VALIDATE, 0, 0, true, false, 0 },
	{ "mmap MAP_PRIVATE", O_RDWR, RW, MAP_PRIVATE, 1, 0, false, false, EINVAL },
	{ "mmap MAP_PRIVATE read-only", O_RDONLY, PROT_READ, MAP_PRIVATE, 1, 0, false, false,
	  EINVAL },
	{ "mmap one page too long", O_RDWR, RW, MAP_SHARED, 1, 0, true, false, ENXIO },
	{ "mmap offset at the end", O_RDWR, RW, MAP_SHARED, 1, 0, false, true, ENXIO },
	{ "mmap offset beyond the end", O_RDWR, RW, MAP_SHARED, 1, 100, false, true, ENXIO },
	{ "mmap whole region at offset 1", O_RDWR, RW, MAP_SHARED, 0, 1, true, false, ENXIO },
	{ "mmap offset + length overflow", O_RDWR, RW, MAP_SHARED, 2, (-1ULL >> 12), false, false,
	  EOVERFLOW },
	{ "mmap huge offset", O_RDWR, RW, MAP_SHARED, 1, (-1ULL >> 12) - 4, false, false, ENXIO },
	{ "mmap PROT_WRITE of read-only open", O_RDONLY, RW, MAP_SHARED, 1, 0, false, false,
	  EACCES },
	{ "mmap PROT_READ of write-only open", O_WRONLY, PROT_READ, MAP_SHARED, 1, 0, false, false,
	  EACCES },
	{ "mmap PROT_WRITE of write-only open", O_WRONLY, PROT_WRITE, MAP_SHARED, 1, 0, false,
	  false, EACCES },
};

static void run_mmap_cases(void)
{
	for (size_t i = 0; i < sizeof(mmap_cases) / sizeof(mmap_cases[0]); i++) {
		const struct mmap_case *c = &mmap_cases[i];
		size_t all = length / page;
		size_t len = page * (c->pages + (c->pages_from_end ? all : 0));
		off_t offset = (off_t)(page * (c->offset + (c->offset_from_end ? all : 0)));
		int fd = open_device(c->open_flags);
		void *base = mmap(NULL, len, c->prot, c->flags, fd, offset);

		check_errno(base == MAP_FAILED ? -1 : 0, c->expected, c->name);
		if (base != MAP_FAILED)
			munmap(base, len);
		close(fd);
	}
}

static void run_exec(void)
{
	struct statvfs fs;
	int expected = EACCES;
	int fd = open_device(O_RDWR);
	void *base;

	/* On a noexec file system the kernel itself refuses it. */
	if (!statvfs(DEVICE, &fs) && (fs.f_flag & ST_NOEXEC))
		expected = EPERM;
	base = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	check_errno(base == MAP_FAILED ? -1 : 0, expected, "mmap PROT_EXEC");
	base = map_region(fd, RW);
	check_errno(mprotect(base, page, PROT_READ | PROT_EXEC), EACCES, "mprotect to PROT_EXEC");
	check_errno(mprotect(base, page, PROT_READ), 0, "mprotect to PROT_READ");
	check_errno(mprotect(base, page, RW), 0, "mprotect back to PROT_WRITE");
	munmap(base, length);
	close(fd);
}

static void run_read_only(void)
{
	int fd = open_device(O_RDONLY);
	char *base = map_region(fd, PROT_READ);
	pid_t child;

	check_errno(mprotect(base, page, RW), EACCES, "mprotect read-only to PROT_WRITE");
	check_errno(write(fd, base, 4), EBADF, "write to read-only open");
	/* The child maps it itself, because the mapping is not inherited. */
	child = fork_to_fault();
	if (!child) {
		*(volatile char *)map_region(fd, PROT_READ) = 1;
		_exit(0);
	}
	check_faulted(child, "store to read-only mapping");
	munmap(base, length);
	close(fd);
}

static void run_remap(void)
{
	int fd = open_device(O_RDWR);
	volatile char *base = map_region(fd, RW);
	unsigned char present;
	void *moved;

	base[0] = base[0];
	check_errno((long)mremap((void *)base, length, length + page, MREMAP_MAYMOVE), EFAULT,
		    "mremap to a larger size");
	check_errno((long)mremap((void *)base, length, length + page, 0), EFAULT,
		    "mremap to a larger size in place");
	moved = mremap((void *)base, 0, length, MREMAP_MAYMOVE);
	check(moved == MAP_FAILED && (errno == EFAULT || errno == EINVAL),
	      "mremap of old size 0", "%p, %s", moved, strerrorname_np(errno));
	moved = mremap((void *)base, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
		       (char *)base - 16 * length);
	check(moved != MAP_FAILED, "mremap to another address", "%s", strerror(errno));
	if (moved != MAP_FAILED) {
		base = moved;
		base[length - 1] = base[length - 1];
		check(!mincore(moved, page, &present), "moved mapping is alive", "%s",
		      strerror(errno));
	}
	munmap((void *)base, length);
	close(fd);
}

/* Checks that a child of fork() faults when it reads the address. */
static void check_not_inherited(volatile char *base, const char *name)
{
	pid_t child = fork_to_fault();

	if (!child) {
		(void)*base;
		_exit(0);
	}
	check_faulted(child, name);
}

static void run_fork(void)
{
	int fd = open_device(O_RDWR);
	char *base = map_region(fd, RW);

	*(volatile char *)base = *(volatile char *)base;
	check_not_inherited(base, "mapping not inherited over fork");
	check_errno(madvise(base, page, MADV_DOFORK), EINVAL, "madvise MADV_DOFORK");
	check_errno(madvise(base, page, MADV_DODUMP), EINVAL, "madvise MADV_DODUMP");
	check_not_inherited(base, "nor after MADV_DOFORK");
	munmap(base, length);
	close(fd);
}

/* Dropping the pages must not change their content. */
static void run_dontneed(void)
{
	int fd = open_device(O_RDWR);
	volatile char *base = map_region(fd, RW);
	volatile char *last = base + length - 8;
	char old = *last;
	int ret;

	*last = 'x';
	ret = madvise((void *)base, length, MADV_DONTNEED);
	check(!ret || errno == EINVAL, "madvise MADV_DONTNEED", "%s", strerror(errno));
	check(*last == 'x', "content after MADV_DONTNEED", "%#x", *last);
	*last = old;
	munmap((void *)base, length);
	close(fd);
}

/* Access to the memory without the mapping. */
static void run_other_ways(void)
{
	int fd = open_device(O_RDWR), mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	int pipes[2];
	char *base = map_region(fd, RW), byte = 0;
	struct iovec local = { &byte, 1 }, remote = { base, 1 };
	off_t zero = 0;
	ssize_t n;

	*(volatile char *)base = *(volatile char *)base;
	check_errno(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), EFAULT,
		    "process_vm_readv of the mapping");
	check_errno(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), EFAULT,
		    "process_vm_writev to the mapping");
	check_errno(pread(mem, &byte, 1, (off_t)(uintptr_t)base), EIO, "/proc/PID/mem read");
	check_errno(pwrite(mem, &byte, 1, (off_t)(uintptr_t)base), EIO, "/proc/PID/mem write");
	if (pipe(pipes))
		exit(1);
	check_errno(sendfile(pipes[1], fd, NULL, 4), EINVAL, "sendfile from the device");
	check_errno(splice(fd, NULL, pipes[1], NULL, 4, 0), EINVAL, "splice from the device");
	n = vmsplice(pipes[1], &remote, 1, 0);
	/* It may splice its own pages with map=insert; PFN mappings have no pages. */
	check(n == 1 || (n == -1 && errno == EFAULT), "vmsplice of own mapping", "%zd, %s", n,
	      strerror(errno));
	check_errno(lseek(fd, 0, SEEK_SET), ESPIPE, "lseek");
	check_errno(pread(fd, &byte, 1, zero), ESPIPE, "pread");
	munmap(base, length);
	close(pipes[0]);
	close(pipes[1]);
	close(mem);
	close(fd);
}

static void run_bells(void)
{
	int fd = open_device(O_RDWR | O_NONBLOCK);
	uint32_t slots[2] = { 0, (uint32_t)(length / page) };
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	void *nowhere = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check_errno(read(fd, slots, 3), EINVAL, "read of 3 bytes");
	check_errno(read(fd, slots, 0), EINVAL, "read of 0 bytes");
	check_errno(write(fd, slots, 5), EINVAL, "write of 5 bytes");
	check_errno(write(fd, &slots[1], 4), EINVAL, "write of a slot beyond the region");
	check(write(fd, slots, 8) == 4, "write stops before a bad slot", "%s", strerror(errno));
	check_errno(write(fd, nowhere, 4), EFAULT, "write from a bad address");
	check_errno(read(fd, slots, 4), EAGAIN, "read with nothing to do");
	check(!poll(&pfd, 1, 0), "poll with nothing to do", "revents %#x", pfd.revents);
	munmap(nowhere, page);
	close(fd);
}

/* allow_any=0: everything is refused to a process other than the helper. */
static void run_others(void)
{
	int fd = open_device(O_RDWR | O_NONBLOCK);
	uint32_t slot = 0;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	void *base = mmap(NULL, page, RW, MAP_SHARED, fd, 0);

	check_errno(base == MAP_FAILED ? -1 : 0, EPERM, "mmap by another process");
	base = mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 0);
	check_errno(base == MAP_FAILED ? -1 : 0, EPERM, "private mmap by another process");
	check_errno(read(fd, &slot, 4), EPERM, "read by another process");
	check_errno(write(fd, &slot, 4), EPERM, "write by another process");
	check(poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLERR), "poll by another process",
	      "revents %#x", pfd.revents);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: device_test others|any LENGTH\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	page = (size_t)sysconf(_SC_PAGESIZE);
	length = strtoul(argv[2], NULL, 10);
	if (!strcmp(argv[1], "others")) {
		run_others();
		return failed;
	}
	run_mmap_cases();
	run_exec();
	run_read_only();
	run_remap();
	run_fork();
	run_dontneed();
	run_other_ways();
	run_bells();
	return failed;
}
