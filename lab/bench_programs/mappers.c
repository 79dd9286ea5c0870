// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs in the guest: many processes that map a memfd several times, with every page present.
 *
 *   mappers FILE GROUP [GROUP ...]        GROUP is NAME:PROCESSES:MAPPINGS:PAGES[:scattered]
 *
 * Each group has its own memfd. Its pages are written in the order of the file, so that most frames
 * are adjacent, or in random order if scattered. When all pages are mapped, FILE has a line
 * "NAME PID" per process and a last line "ready". The processes then sleep until they are killed.
 */
#include <err.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PAGE 4096

struct group {
	char name[32];
	unsigned int processes, mappings, pages;
	int fd;
};

static uint64_t next_random(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Frames are allocated in the order in which their pages are first written. */
static void fill(const struct group *group, int scattered)
{
	uint32_t *order = calloc(group->pages, sizeof(*order));

	if (!order)
		err(1, "calloc");
	for (uint32_t i = 0; i < group->pages; i++) {
		uint32_t other = scattered ? (uint32_t)(next_random() % (i + 1)) : i;

		order[i] = order[other];
		order[other] = i;
	}
	for (uint32_t i = 0; i < group->pages; i++) {
		if (pwrite(group->fd, &i, sizeof(i), (off_t)order[i] * PAGE) != sizeof(i))
			err(1, "pwrite");
	}
	free(order);
}

static void parse(struct group *group, const char *word)
{
	char scattered[12] = "";
	int fields = sscanf(word, "%31[^:]:%u:%u:%u:%11s", group->name, &group->processes,
			    &group->mappings, &group->pages, scattered);

	if (fields < 4 || (fields == 5 && strcmp(scattered, "scattered")))
		errx(2, "%s: not NAME:PROCESSES:MAPPINGS:PAGES[:scattered]", word);
	group->fd = memfd_create(group->name, MFD_CLOEXEC);
	if (group->fd < 0 || ftruncate(group->fd, (off_t)group->pages * PAGE))
		err(1, "memfd_create");
	fill(group, fields == 5);
}

/* Touch every page: how many entries one fault fills depends on the kernel's settings. */
static void map(const struct group *group)
{
	size_t length = (size_t)group->pages * PAGE;

	for (unsigned int i = 0; i < group->mappings; i++) {
		const volatile unsigned char *bytes =
			mmap(NULL, length, PROT_READ, MAP_SHARED, group->fd, 0);

		if (bytes == MAP_FAILED)
			err(1, "mmap");
		for (size_t at = 0; at < length; at += PAGE)
			(void)bytes[at];
	}
}

static pid_t start(const struct group *group, pid_t parent, int done)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	map(group);
	if (write(done, "", 1) != 1)
		err(1, "write");
	close(done);
	for (;;)
		pause();
}

/* Start two processes at a time, for the guest's two CPUs. If one dies, read() meets the end of file. */
int main(int argc, char **argv)
{
	struct group groups[8];
	unsigned int count = (unsigned int)argc - 2;
	pid_t parent = getpid();
	FILE *out;

	if (argc < 3 || count > sizeof(groups) / sizeof(*groups))
		errx(2, "usage: mappers FILE GROUP [GROUP ...]");
	for (unsigned int i = 0; i < count; i++)
		parse(&groups[i], argv[2 + i]);
	out = fopen(argv[1], "w");
	if (!out)
		err(1, "%s", argv[1]);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int started = 0, ended = 0;
		int done[2];
		char byte;

		if (pipe(done))
			err(1, "pipe");
		while (ended < groups[i].processes) {
			while (started < groups[i].processes && started < ended + 2) {
				pid_t pid = start(&groups[i], parent, done[1]);

				fprintf(out, "%s %d\n", groups[i].name, pid);
				fflush(out);
				started++;
			}
			if (started == groups[i].processes && done[1] >= 0) {
				close(done[1]);
				done[1] = -1;
			}
			if (read(done[0], &byte, 1) != 1)
				errx(1, "%s: a process died", groups[i].name);
			ended++;
		}
		close(done[0]);
	}
	fputs("ready\n", out);
	fclose(out);
	for (;;)
		pause();
}
