// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Increments the counter of shares_counter.ko in turns with the kernel. Each access is known: see
 * watched/shares_counter_abi.h.
 *
 *   shares_counter OUTPUT [--rounds N] [--processes N] [--thread] [--in task|softirq|hardirq]
 *
 * OUTPUT gets one JSON object: pid, pids of all processes, address of the page (the same in all,
 * each has a page of its own), rounds, address of user_adds(). Each process waits for SIGUSR1, counts to N (1000), reports
 * "done" in the file OUTPUT.PID, and sleeps. The user's side runs in a new thread with --thread, the
 * kernel's in an interrupt with --in.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "shares_maps.h"
#include "watched/shares_counter_abi.h"

#define MOST_PROCESSES 8

static unsigned long rounds = 1000, where = SHARES_COUNTER_TASK;
static volatile struct shares_counter_page *page;
static int device;

/* One round. Not a single instruction: a read, then a write. */
static __attribute__((noinline, noclone)) void user_adds(void)
{
	page->count = page->count + 1;
	page->turn = SHARES_COUNTER_KERNEL;
}

static void *count(void *unused)
{
	(void)unused;
	for (unsigned long i = 0; i < rounds; i++) {
		if (i % 2 == 0)
			user_adds();
		else if (ioctl(device, SHARES_COUNTER_ADD, where))
			die("SHARES_COUNTER_ADD");
	}
	return NULL;
}

static void map(void)
{
	int fixed = page ? MAP_FIXED : 0;

	device = checked_fd(open(SHARES_COUNTER_DEVICE, O_RDWR | O_CLOEXEC), SHARES_COUNTER_DEVICE);
	page = checked(mmap((void *)(uintptr_t)page, PAGE, READ_WRITE, MAP_SHARED | fixed, device, 0),
		       "mmap");
}

static void wait_and_count(const char *output, bool in_thread)
{
	char name[512], part[520];
	pthread_t thread;
	sigset_t signals;
	int caught;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	if (sigwait(&signals, &caught))
		die("sigwait");
	if (!in_thread)
		count(NULL);
	else if (pthread_create(&thread, NULL, count, NULL) || pthread_join(thread, NULL))
		die("thread");
	snprintf(name, sizeof(name), "%s.%d", output, getpid());
	snprintf(part, sizeof(part), "%s.part", name);
	out = fopen(part, "w");
	if (!out || fputs("done\n", out) < 0 || fclose(out) || rename(part, name))
		die(name);
	stay();
}

/* Start other processes; returns their number. */
static int start_others(int processes, pid_t *pids, const char *output, bool in_thread)
{
	int ready[2];
	char byte;

	if (pipe(ready))
		die("pipe");
	for (int i = 0; i < processes - 1; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (!pids[i]) {
			close(device);
			map();
			if (write(ready[1], "", 1) != 1)
				die("write");
			wait_and_count(output, in_thread);
		}
		if (read(ready[0], &byte, 1) != 1)
			die("read");
	}
	return processes - 1;
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long value = text ? strtoul(text, &end, 0) : 0;

	errno = EINVAL;
	if (!value || *end)
		die(text ? text : "a number is missing");
	return value;
}

static unsigned long place(const char *text)
{
	static const char *const names[] = { "task", "softirq", "hardirq" };

	for (unsigned long i = 0; text && i < 3; i++)
		if (!strcmp(text, names[i]))
			return i;
	errno = EINVAL;
	die(text ? text : "--in");
	return 0;
}

static void block_signal(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &signals, NULL))
		die("sigprocmask");
}

int main(int argc, char **argv)
{
	pid_t pids[MOST_PROCESSES];
	unsigned long processes = 1;
	bool in_thread = false;
	int others;

	if (argc < 2)
		return 2;
	for (char **word = argv + 2; *word; word++) {
		if (!strcmp(*word, "--thread"))
			in_thread = true;
		else if (!strcmp(*word, "--rounds"))
			rounds = number(*++word);
		else if (!strcmp(*word, "--processes"))
			processes = number(*++word);
		else if (!strcmp(*word, "--in"))
			where = place(*++word);
		else
			errno = EINVAL, die(*word);
	}
	if (processes > MOST_PROCESSES)
		errno = EINVAL, die("--processes");
	block_signal();
	map();
	others = start_others((int)processes, pids, argv[1], in_thread);
	open_output(argv[1]);
	fprintf(out, "{\"pid\": %d, \"address\": %" PRIuPTR ", \"rounds\": %lu", getpid(),
		(uintptr_t)page, rounds);
	fprintf(out, ", \"user_adds\": %" PRIuPTR ", \"pids\": [%d", (uintptr_t)user_adds, getpid());
	for (int i = 0; i < others; i++)
		fprintf(out, ", %d", pids[i]);
	fputs("]}\n", out);
	publish(argv[1]);
	wait_and_count(argv[1], in_thread);
}
