// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Run a command, on the host or in a guest, and measure it.
 *
 *   timed SECONDS MIB OUTPUT COMMAND [ARGUMENT ...]
 *
 * The command is killed after SECONDS, or when its anonymous memory exceeds MIB. Its stdout goes to
 * the file OUTPUT. When it has ended, one line on stdout has: seconds of wall time, seconds of CPU
 * time, its peak memory in KiB as wait4() reports it, its exit code (128 + N for signal N), and why
 * it ended: "itself", "deadline" or "memory". A command that cannot be started has the exit code 127.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NSEC 50000000	/* between two looks at the clock and at the memory */

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static double seconds(struct timeval of)
{
	return (double)of.tv_sec + (double)of.tv_usec * 1e-6;
}

/* Anonymous memory only: pages of a mapped dump can be given back. 0 when the process has ended. */
static unsigned long anonymous_kib(pid_t pid)
{
	char name[32], line[256];
	unsigned long kib = 0;
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	file = fopen(name, "re");
	while (file && fgets(line, sizeof(line), file))
		(void)sscanf(line, "RssAnon: %lu", &kib);
	if (file)
		fclose(file);
	return kib;
}

static pid_t start(char **argv, const char *output, const sigset_t *unblocked)
{
	pid_t parent = getpid(), pid = fork();
	int out;

	if (pid < 0)
		err(2, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	setpgid(0, 0);
	out = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0 || dup2(out, STDOUT_FILENO) < 0) {
		warn("%s", output);
		_exit(127);
	}
	sigprocmask(SIG_SETMASK, unblocked, NULL);
	execvp(argv[0], argv);
	warn("%s", argv[0]);
	_exit(127);
}

int main(int argc, char **argv)
{
	const struct timespec pause = { 0, LOOK_NSEC };
	const char *why = "itself";
	struct rusage usage;
	sigset_t child, before;
	double deadline, began;
	unsigned long limit;
	int status, code;
	pid_t pid, ended;

	if (argc < 5)
		errx(2, "usage: timed SECONDS MIB OUTPUT COMMAND [ARGUMENT ...]");
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* the command must not outlive the benchmark */
	deadline = atof(argv[1]);
	limit = strtoul(argv[2], NULL, 10) * 1024;
	/* SIGCHLD ends the wait below at once. Blocked before fork(), so that none is lost. */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	began = now();
	pid = start(argv + 4, argv[3], &before);
	while (!(ended = wait4(pid, &status, WNOHANG, &usage))) {
		if (now() - began > deadline)
			why = "deadline";
		else if (anonymous_kib(pid) > limit)
			why = "memory";
		if (strcmp(why, "itself")) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);	/* its setpgid() may come later */
			ended = wait4(pid, &status, 0, &usage);
			break;
		}
		if (sigtimedwait(&child, NULL, &pause) < 0 && errno != EAGAIN && errno != EINTR)
			err(2, "sigtimedwait");
	}
	if (ended != pid)
		err(2, "wait4");
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	printf("%.6f %.6f %ld %d %s\n", now() - began,
	       seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss, code, why);
	return 0;
}
