// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keeps a guest's memory management busy until it is killed. One process per kind of work: fork and
 * exec, making and splitting huge pages, merging by KSM, swapping, short-lived shared memory.
 *
 *   busy OUTPUT [compact]
 *
 * With "compact" it also compacts all memory every ten seconds. On an emulated machine with a busy
 * host the interrupts of that may take half a minute.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "shares_maps.h"

#define MIB (1UL << 20)
#define HUGE (2 * MIB)

/* Since Linux 5.4; not in the oldest libc that this builds with. */
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static char *anonymous(size_t bytes)
{
	return checked(mmap(NULL, bytes, READ_WRITE, PRIVATE, -1, 0), "mmap");
}

static void fill(char *memory, size_t bytes, int what)
{
	for (size_t at = 0; at < bytes; at += PAGE)
		memset(memory + at, what, PAGE);
}

static void fork_and_exec(void)
{
	char *memory = anonymous(MIB);
	pid_t child;

	fill(memory, MIB, 'f');
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		fill(memory, MIB / 2, 'c');	/* copies of the parent's */
		execl("/bin/true", "true", NULL);
		die("/bin/true");
	}
	waitpid(child, NULL, 0);
	munmap(memory, MIB);
}

static void huge_pages(void)
{
	char *memory = anonymous(4 * HUGE);
	char *aligned = (char *)(((uintptr_t)memory + HUGE - 1) & -HUGE);

	madvise(aligned, 3 * HUGE, MADV_HUGEPAGE);
	fill(aligned, 3 * HUGE, 'h');
	madvise(aligned + MIB, HUGE, MADV_DONTNEED);
	mprotect(aligned + 2 * HUGE, 8 * PAGE, PROT_READ);
	munmap(memory, 4 * HUGE);
}

static void merged(void)
{
	char *memory = anonymous(2 * MIB);

	madvise(memory, 2 * MIB, MADV_MERGEABLE);
	fill(memory, 2 * MIB, 'k');
	usleep(200 * 1000);		/* for ksmd */
	fill(memory, MIB, 'K');		/* and unmerge half of it */
	munmap(memory, 2 * MIB);
}

static void swapped(void)
{
	char *memory = anonymous(2 * MIB);

	fill(memory, 2 * MIB, 's');
	madvise(memory, 2 * MIB, MADV_PAGEOUT);
	fill(memory, MIB, 'S');
	munmap(memory, 2 * MIB);
}

static void shared(void)
{
	int fd = checked_fd(memfd_create("busy", 0), "memfd_create");
	char *memory;

	if (ftruncate(fd, MIB))
		die("ftruncate");
	memory = checked(mmap(NULL, MIB, READ_WRITE, MAP_SHARED, fd, 0), "memfd");
	fill(memory, MIB, 'm');
	if (ftruncate(fd, MIB / 2))
		die("ftruncate");
	munmap(memory, MIB);
	close(fd);
}

static void compacted(void)
{
	int fd = checked_fd(open("/proc/sys/vm/compact_memory", O_WRONLY), "compact_memory");

	if (write(fd, "1", 1) != 1)
		die("compact_memory");
	close(fd);
	sleep(10);
}

static void start(void (*work)(void))
{
	switch (fork()) {
	case -1:
		die("fork");
		break;
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			work();
			usleep(20 * 1000);	/* leave CPU time for others */
		}
	}
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	begin(argv[1]);
	start(fork_and_exec);
	start(huge_pages);
	start(merged);
	start(swapped);
	start(shared);
	if (argc > 2)
		start(compacted);
	end(argv[1]);
}
