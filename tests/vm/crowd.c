// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A crowd of processes that fork, exec, map and unmap memory, and exit, until they are killed. All map
 * the same memfd. The parent replaces those that exit.
 *
 *   crowd OUTPUT PROCESSES
 */
#include <sys/wait.h>

#include "shares_maps.h"

#define PAGES 16
#define FD_TEXT 16
#define PIECE 4			/* pages that are mapped and unmapped */
#define MOST_SECONDS 60		/* between two actions of a process */

static int memfd;
static unsigned long *started;	/* in the memfd's first page */
static unsigned long wanted;

static void *map_file(size_t first, size_t pages)
{
	return checked(mmap(NULL, pages * PAGE, READ_WRITE, MAP_SHARED, memfd, first * PAGE),
		       "memfd");
}

static void touch(char *memory, size_t pages)
{
	for (size_t page = 0; page < pages; page++)
		memory[page * PAGE + 64]++;
}

static void fork_and_exec(bool exec)
{
	pid_t child = fork();

	if (child < 0)
		return;		/* out of memory or PIDs: others exit */
	if (child) {
		waitpid(child, NULL, 0);
		return;
	}
	if (exec)
		execl("/bin/true", "true", NULL);
	else
		touch(map_file(0, PAGES), PAGES);
	_exit(0);
}

static void map_and_unmap(void)
{
	size_t first = (size_t)rand() % (PAGES - PIECE);
	char *memory = map_file(first, PIECE);
	char *own = checked(mmap(NULL, PIECE * PAGE, READ_WRITE, PRIVATE, -1, 0), "mmap");

	touch(memory, PIECE);
	touch(own, PIECE);
	usleep((useconds_t)rand() % 100000);
	munmap(memory, PIECE * PAGE);
	munmap(own, PIECE * PAGE);
}

/* One process, before and after each exec of itself; it exits in the end. */
static _Noreturn void live(bool again)
{
	char *memory = map_file(0, PAGES);
	char text[FD_TEXT];

	srand((unsigned int)getpid());
	touch(memory, PAGES);
	if (!again)
		__atomic_fetch_add(started, 1, __ATOMIC_SEQ_CST);
	while (!again && __atomic_load_n(started, __ATOMIC_SEQ_CST) < wanted)
		sleep(2);	/* the others start faster without this one's work */
	for (;;) {
		usleep((useconds_t)(rand() % (MOST_SECONDS * 1000)) * 1000);
		switch (rand() % 5) {
		case 0:
			fork_and_exec(false);
			break;
		case 1:
			fork_and_exec(true);
			break;
		case 2:
			map_and_unmap();
			break;
		case 3:
			snprintf(text, sizeof(text), "%d", memfd);
			execl("/proc/self/exe", "crowd", "again", text, NULL);
			die("/proc/self/exe");
			break;
		default:
			_exit(0);
		}
	}
}

static void start(void)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (!child)
		live(false);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "again")) {
		memfd = atoi(argv[2]);
		live(true);
	}
	wanted = strtoul(argv[2], NULL, 10);
	if (nice(19) < 0)	/* the guest agent comes first */
		die("nice");
	begin(argv[1]);
	memfd = checked_fd(memfd_create("crowd", 0), "memfd_create");
	if (ftruncate(memfd, PAGES * PAGE))
		die("ftruncate");
	started = map_file(0, PAGES);
	fflush(out);
	for (unsigned long number = 0; number < wanted; number++)
		start();
	while (__atomic_load_n(started, __ATOMIC_SEQ_CST) < wanted)
		usleep(10000);
	finish(argv[1]);
	while (waitpid(-1, NULL, 0) > 0)
		start();
	die("waitpid");
}
