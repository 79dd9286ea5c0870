// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_module [-s SEED] [-n CALLS] [-p PROCESSES] [-t SECONDS] [-m umh_shm.ko] [-f GROUP] [-b]
 *
 * Makes CALLS calls from several processes at random, and prints a report in JSON. The calls of a
 * process depend on the seed and on its number only, unless kcov is there (-b: do not use it).
 * Exit status: 0; 1: a call did not end within SECONDS; 2: wrong usage. Whether the kernel had
 * something to say is for the caller to see.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

struct shared *shared;
struct options options = { .seed = 1, .calls = 10000, .processes = 4, .stuck_seconds = 120 };
__thread sigjmp_buf *fault_return;

uint64_t mix(uint64_t a, uint64_t b)
{
	/* splitmix64 */
	uint64_t z = a + 0x9e3779b97f4a7c15ULL * (b + 1);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint64_t draw(struct state *s)
{
	s->random += 0x9e3779b97f4a7c15ULL;
	return mix(s->random, 0);
}

uint64_t below(struct state *s, uint64_t end)
{
	return draw(s) % end;
}

bool chance(struct state *s, unsigned int one_in)
{
	return !below(s, one_in);
}

uint64_t odd_number(struct state *s)
{
	uint64_t bit = 1ULL << below(s, 64);

	switch (below(s, 4)) {
	case 0:
		return below(s, 5);
	case 1:
		return bit - below(s, 3);
	case 2:
		return below(s, 64) * PAGE;
	default:
		return draw(s);
	}
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void on_fault(int number)
{
	if (fault_return)
		siglongjmp(*fault_return, 1);
	/* Not ours: a mistake in the fuzzer, or a call that changed its stack. */
	_exit(100 + number);
}

static void on_alarm(int number)
{
	(void)number;
}

static void work(int number)
{
	struct state s = { .number = number, .epoch = shared->epoch };
	struct rlimit limit = { .rlim_cur = 64UL << 20, .rlim_max = 64UL << 20 };
	struct sigaction fault = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	struct sigaction alarmed = { .sa_handler = on_alarm };	/* no SA_RESTART */

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_MEMLOCK, &limit);
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGALRM, &alarmed, NULL);
	signal(SIGPIPE, SIG_IGN);
	memset(s.file, -1, sizeof(s.file));
	run_programs(&s);
	_exit(0);
}

static pid_t start(int number)
{
	pid_t pid = fork();

	if (!pid) {
		setpgid(0, 0);
		work(number);
	}
	if (pid > 0)
		setpgid(pid, pid);
	return pid;
}

static bool stuck(unsigned int number)
{
	const struct process *one = &shared->process[number];
	uint64_t since = __atomic_load_n(&one->since_ns, __ATOMIC_ACQUIRE);

	return since && now_ns() - since > (uint64_t)options.stuck_seconds * 1000000000ULL;
}

/* Returns the number of processes that were started again; -1: one hangs. */
static long supervise(pid_t pids[])
{
	long again = 0;
	unsigned int left = options.processes, i;
	int status;
	pid_t pid;

	while (left) {
		pid = waitpid(-1, &status, WNOHANG);
		if (pid <= 0) {
			for (i = 0; i < options.processes; i++)
				if (pids[i] && stuck(i)) {
					fprintf(stderr, "process %d hangs in %s, seed %#llx\n", pids[i],
						call_name(shared->process[i].kind),
						(unsigned long long)shared->process[i].seed);
					return -1;
				}
			pause_ms(20);
			continue;
		}
		for (i = 0; i < options.processes && pids[i] != pid; i++)
			;
		if (i == options.processes)
			continue;
		pids[i] = 0;
		kill(-pid, SIGKILL);	/* its children */
		shared->process[i].since_ns = 0;
		if (WIFEXITED(status) && !WEXITSTATUS(status)) {
			left--;
			continue;
		}
		shared->process[i].calls++;	/* the one that ended it */
		pids[i] = start((int)i);
		again++;
	}
	return again;
}

static void print_report(long again, double seconds)
{
	uint64_t calls = 0, new_code = 0, covered = 0;
	const char *name, *comma = "";
	unsigned int i;

	for (i = 0; i < options.processes; i++) {
		calls += shared->process[i].calls;
		new_code += shared->process[i].new_code;
	}
	for (i = 0; i < COVER_BYTES / 8; i++)
		covered += (uint64_t)__builtin_popcount(shared->covered[i]);
	printf("{\"seed\": %llu, \"calls\": %llu, \"seconds\": %.1f, \"restarted\": %ld, ",
	       (unsigned long long)options.seed, (unsigned long long)calls, seconds, again);
	printf("\"covered\": %llu, \"kept\": %llu, \"kinds\": {", (unsigned long long)covered,
	       (unsigned long long)new_code);
	for (i = 0; (name = call_name(i)); i++) {
		printf("%s\"%s\": [%llu, %llu]", comma, name, (unsigned long long)shared->done[i],
		       (unsigned long long)shared->failed[i]);
		comma = ", ";
	}
	printf("}}\n");
}

static int parse(int argc, char *argv[])
{
	int option;

	while ((option = getopt(argc, argv, "s:n:p:t:m:f:b")) >= 0) {
		switch (option) {
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			options.calls = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			options.processes = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 't':
			options.stuck_seconds = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'm':
			options.module = optarg;
			break;
		case 'f':
			options.freezer = optarg;
			break;
		case 'b':
			options.blind = true;
			break;
		default:
			return -1;
		}
	}
	return optind == argc && options.processes && options.processes <= PROCESSES_MAX ? 0 : -1;
}

int main(int argc, char *argv[])
{
	pid_t pids[PROCESSES_MAX] = { 0 };
	unsigned int i;
	uint64_t begin;
	long again;

	if (parse(argc, argv)) {
		fprintf(stderr, "usage: fuzz_module [-s SEED] [-n CALLS] [-p PROCESSES (1 to %d)] "
			"[-t SECONDS] [-m umh_shm.ko] [-f GROUP] [-b]\n", PROCESSES_MAX);
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	begin = now_ns();
	for (i = 0; i < options.processes; i++)
		pids[i] = start((int)i);
	again = supervise(pids);
	print_report(again, (double)(now_ns() - begin) / 1e9);
	fflush(stdout);
	if (again >= 0)
		return 0;
	/* Leave the process that hangs: the caller reads its stack. End the others. */
	shared->stop = 1;
	for (i = 0; i < options.processes; i++)
		if (pids[i] && !stuck(i))
			kill(-pids[i], SIGKILL);
	_exit(1);
}
