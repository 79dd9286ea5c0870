// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two processes with a page at the same address, each on a frame of its own, and a page that they
 * share after it. On SIGUSR1 a process makes a known sequence of accesses to its own page. On
 * SIGUSR2 it counts to 200 in a word of the shared page that is its own, on a CPU of its own.
 * Then it writes a byte to OUTPUT.pid.
 *
 *   accesses OUTPUT
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>

#include "shares_maps.h"

#define ADDRESS ((char *)0x12345678a000)
#define FIRST 64	/* a word, the next one follows */
#define SECOND 68
#define THIRD 80

static volatile sig_atomic_t wanted, wanted_count;

static void want(int number)
{
	if (number == SIGUSR1)
		wanted++;
	else
		wanted_count++;
}

static uint64_t frame_of(const char *address)
{
	uint64_t entry;
	int fd = checked_fd(open("/proc/self/pagemap", O_RDONLY), "pagemap");

	if (pread(fd, &entry, sizeof(entry), (uintptr_t)address / PAGE * sizeof(entry)) !=
	    sizeof(entry))
		die("pagemap");
	close(fd);
	return entry & ((1ULL << 55) - 1);
}

/* tests/live/test_gdb_source.py has the list of what is seen. */
static void sequence(char *page)
{
	uint64_t wide = 0x0000000200000007, other;
	uint32_t word = 1, none = 99;
	char *first = page + FIRST, *second = page + SECOND;

	asm volatile("movl %1, %0" : "=m"(*(uint32_t *)first) : "r"(word) : "memory");
	asm volatile("movl %1, %0" : "=r"(word) : "m"(*(uint32_t *)first) : "memory");
	asm volatile("incl %0" : "+m"(*(uint32_t *)first) : : "memory");
	asm volatile("lock; xaddl %1, %0" : "+m"(*(uint32_t *)first), "+r"(word) : : "memory");
	asm volatile("lock; cmpxchgl %2, %0"	/* which does not find what it expects */
		     : "+m"(*(uint32_t *)first), "+a"(none)
		     : "r"(word)
		     : "memory");
	/* Not aligned, near the words but not in them. */
	asm volatile("movq %1, %0" : "=m"(*(uint64_t *)(page + 85)) : "r"(wide) : "memory");
	asm volatile("movq %1, %0" : "=r"(other) : "m"(*(uint64_t *)(page + 85)) : "memory");
	asm volatile("movl %1, %0" : "=m"(*(uint32_t *)(page + 59)) : "r"(word) : "memory");
	/* Both words at once. */
	asm volatile("movq %1, %0" : "=m"(*(uint64_t *)first) : "r"(wide) : "memory");
	asm volatile("movups %0, %%xmm0" : : "m"(*(uint64_t(*)[2])(page + 60)) : "xmm0", "memory");
	asm volatile("movups %%xmm0, %0" : "=m"(*(uint64_t(*)[2])(page + 60)) : : "memory");
	/* Byte by byte. */
	asm volatile("rep stosb" : "+D"(second), "+c"((uint64_t){ 4 }) : "a"(5) : "memory");
}

static void count(volatile uint32_t *word)
{
	for (uint32_t number = 1; number <= 200; number++)
		*word = number;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

/* @number: 0 or 1, of the process */
static void serve(const char *output, char *page, int number)
{
	char name[256];
	sigset_t blocked, before;

	snprintf(name, sizeof(name), "%s.%d", output, getpid());
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGUSR2);
	pin(number);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	for (;;) {
		int fd;

		while (!wanted && !wanted_count)
			sigsuspend(&before);
		if (wanted) {
			wanted--;
			sequence(page);
		} else {
			wanted_count--;
			count((uint32_t *)(page + PAGE + (number ? SECOND : FIRST)));
		}
		fd = checked_fd(open(name, O_WRONLY | O_CREAT | O_APPEND, 0600), name);
		if (write(fd, "", 1) != 1)
			die(name);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	char *page;
	int ready[2];
	struct {
		pid_t pid;
		uint64_t frame;
	} twin = { 0 };

	if (argc != 2)
		return 2;
	signal(SIGUSR1, want);
	signal(SIGUSR2, want);
	page = checked(mmap(ADDRESS, PAGE, READ_WRITE, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0), "mmap");
	checked(mmap(ADDRESS + PAGE, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
		"mmap");
	memset(page, 'x', 2 * PAGE);
	if (pipe(ready))
		die("pipe");
	twin.pid = fork();
	if (twin.pid < 0)
		die("fork");
	if (!twin.pid) {
		page[0] = 'y';
		page[PAGE] = 'y';
		twin.pid = getpid();
		twin.frame = frame_of(page);
		if (write(ready[1], &twin, sizeof(twin)) != sizeof(twin))
			die("write");
		serve(argv[1], page, 1);
	}
	if (read(ready[0], &twin, sizeof(twin)) != sizeof(twin))
		die("read");
	page[0] = 'z';
	open_output(argv[1]);
	fprintf(out, "{\"pid\": %d, \"address\": %" PRIuPTR ", \"frame\": %" PRIu64, getpid(),
		(uintptr_t)page, frame_of(page));
	fprintf(out, ", \"twin\": %d, \"twin_frame\": %" PRIu64, twin.pid, twin.frame);
	fprintf(out, ", \"shared_frame\": %" PRIu64 "}\n", frame_of(page + PAGE));
	publish(argv[1]);
	serve(argv[1], page, 0);
}
