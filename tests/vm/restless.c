// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changes its mappings of shared memory until it is killed. One process per way: mprotect, mremap,
 * MADV_DONTNEED, fork; and one that moves from CPU to CPU, so that NUMA balancing moves its memory
 * between nodes.
 *
 *   restless OUTPUT
 *
 * All map one memfd and write to it. The parent maps it too, touches all of it and then sleeps, so
 * its pages stay present.
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "shares_maps.h"

#define PAGES 64
#define BYTES (PAGES * PAGE)

static int fd;

static char *map_at(void *address, int flags)
{
	return checked(mmap(address, BYTES, READ_WRITE, MAP_SHARED | flags, fd, 0), "mmap");
}

static void touch(char *memory, size_t first, size_t pages)
{
	for (size_t page = first; page < first + pages; page++)
		memory[page * PAGE + 64]++;
}

static void protects(char *memory)
{
	static const int rights[] = { PROT_NONE, PROT_READ, READ_WRITE, PROT_NONE, READ_WRITE };

	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
		size_t first = (size_t)rand() % (PAGES - 8);

		if (mprotect(memory + first * PAGE, 8 * PAGE, rights[i]))
			die("mprotect");
		usleep(1000);
	}
	if (mprotect(memory, BYTES, READ_WRITE))
		die("mprotect");
	touch(memory, 0, PAGES);
}

/* Moves the memory to another address and back in parts: VMAs are split, moved and merged. */
static void moves(char *memory)
{
	static char *other;

	if (!other)
		other = checked(mmap(NULL, BYTES, PROT_NONE, PRIVATE, -1, 0), "mmap");
	for (size_t part = 0; part < 4; part++) {
		size_t at = part * BYTES / 4;

		checked(mremap(memory + at, BYTES / 4, BYTES / 4, MREMAP_MAYMOVE | MREMAP_FIXED,
			       other + at), "mremap");
		touch(other, part * PAGES / 4, PAGES / 4);
	}
	usleep(1000);
	checked(mremap(other, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, memory), "mremap");
	touch(memory, 0, PAGES);
	other = checked(mmap(other, BYTES, PROT_NONE, PRIVATE | MAP_FIXED, -1, 0), "mmap");
}

static void drops(char *memory)
{
	size_t first = (size_t)rand() % (PAGES - 8);

	if (madvise(memory + first * PAGE, 8 * PAGE, MADV_DONTNEED))
		die("MADV_DONTNEED");
	usleep(500);
	touch(memory, first, 8);
	munmap(memory + 4 * PAGE, PAGE);
	checked(mmap(memory + 4 * PAGE, PAGE, READ_WRITE, MAP_SHARED | MAP_FIXED, fd, 4 * PAGE),
		"mmap");
}

static void forks(char *memory)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (!child) {
		touch(memory, 0, PAGES);
		mprotect(memory, 4 * PAGE, PROT_NONE);
		usleep(2000);
		_exit(0);
	}
	touch(memory, 0, PAGES);
	waitpid(child, NULL, 0);
}

static void wanders(char *memory)
{
	static int cpu;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	cpu = !cpu;
	sched_setaffinity(0, sizeof(set), &set);	/* there may be only one */
	for (int round = 0; round < 200; round++)
		touch(memory, 0, PAGES);
}

static void start(void (*work)(char *), useconds_t pause)
{
	char *memory;

	switch (fork()) {
	case -1:
		die("fork");
		break;
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		memory = map_at(NULL, 0);
		touch(memory, 0, PAGES);
		for (;;) {
			work(memory);
			usleep(pause);	/* leave CPU time for others */
		}
	}
}

int main(int argc, char **argv)
{
	struct region still = { "restless", "shmem", "", .pages = PAGES, .region_pages = PAGES };

	if (argc < 2)
		return 2;
	begin(argv[1]);
	fd = checked_fd(memfd_create("restless", 0), "memfd_create");
	if (ftruncate(fd, BYTES))
		die("ftruncate");
	still.address = map_at(NULL, 0);
	touch(still.address, 0, PAGES);
	still.touched = UINT64_MAX;
	report(&still);
	start(protects, 3000);
	start(moves, 3000);
	start(drops, 1000);
	start(forks, 5000);
	start(wanders, 1000);
	end(argv[1]);
}
