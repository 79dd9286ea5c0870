// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs in the guest: many processes that map a memfd, with every page present.
 *
 *   mappers FILE GROUP [GROUP ...]     GROUP is NAME:PROCESSES:MAPPINGS:PAGES[:scattered|:pieces]
 *
 * Each group has its own memfd of PAGES pages. They are written in the order of the file, so that
 * most frames are adjacent, or in random order if scattered. A process maps all of the memfd
 * MAPPINGS times. With pieces it has MAPPINGS adjacent VMAs of one page instead: every fourth maps
 * one page of the memfd, the others are anonymous and not populated.
 *
 * FILE has a line per process, when all its pages are present, and a last line "ready":
 *
 *   NAME PID ADDRESS VMAS PTES RUNS TABLES
 *
 * ADDRESS is that of the first page of the memfd in this process. Then follow what the kernel counts
 * in /proc/self: VMAs, present pages of the memfd, runs of them with ascending frames, KiB of page
 * tables. The processes then sleep until they are killed.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PAGE 4096
#define BATCH 4096			/* words of pagemap per read */
#define FRAME ((UINT64_C(1) << 55) - 1)	/* Documentation/admin-guide/mm/pagemap.rst */
#define PRESENT (UINT64_C(1) << 63)
#define EACH_PIECE 4

enum order { IN_ORDER, SCATTERED, PIECES };

struct group {
	char name[32];
	unsigned int processes, mappings, pages;
	enum order order;
	int fd;
};

/* What a child reports to its parent: shorter than PIPE_BUF, so written at once. */
struct mapped {
	int pid;
	uint64_t address, vmas, ptes, runs, tables_kib;
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
	char order[12] = "";
	int fields = sscanf(word, "%31[^:]:%u:%u:%u:%11s", group->name, &group->processes,
			    &group->mappings, &group->pages, order);

	group->order = IN_ORDER;
	if (!strcmp(order, "scattered"))
		group->order = SCATTERED;
	else if (!strcmp(order, "pieces"))
		group->order = PIECES;
	if (fields < 4 || !group->processes || !group->mappings || !group->pages ||
	    (fields == 5 && group->order == IN_ORDER))
		errx(2, "%s: not NAME:PROCESSES:MAPPINGS:PAGES[:scattered|:pieces]", word);
	group->fd = memfd_create(group->name, MFD_CLOEXEC);
	if (group->fd < 0 || ftruncate(group->fd, (off_t)group->pages * PAGE))
		err(1, "memfd_create");
	fill(group, group->order == SCATTERED);
}

static void *map_or_exit(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
	void *found = mmap(at, length, protection, flags, fd, offset);

	if (found == MAP_FAILED)
		err(1, "mmap");
	return found;
}

/* Add to the counts what the kernel says about present pages of this process. */
static void count_pages(struct mapped *mapped, const void *start, size_t pages)
{
	static uint64_t words[BATCH];
	uint64_t last = 0;
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (pagemap < 0)
		err(1, "pagemap");
	for (size_t done = 0; done < pages;) {
		size_t some = pages - done < BATCH ? pages - done : BATCH;
		off_t at = (off_t)(((uintptr_t)start / PAGE + done) * sizeof(*words));
		ssize_t got = pread(pagemap, words, some * sizeof(*words), at);

		if (got <= 0)
			err(1, "pagemap");
		for (size_t i = 0; i < (size_t)got / sizeof(*words); i++, done++) {
			uint64_t frame = words[i] & FRAME;

			if (!(words[i] & PRESENT)) {
				last = 0;
				continue;
			}
			mapped->ptes++;
			mapped->runs += !last || frame != last + 1;
			last = frame;
		}
	}
	close(pagemap);
}

/* Touch every page: how many entries one fault fills depends on the kernel's settings. */
static void map_whole(const struct group *group, struct mapped *mapped)
{
	size_t length = (size_t)group->pages * PAGE;

	for (unsigned int i = 0; i < group->mappings; i++) {
		const volatile unsigned char *bytes =
			map_or_exit(NULL, length, PROT_READ, MAP_SHARED, group->fd, 0);

		for (size_t at = 0; at < length; at += PAGE)
			(void)bytes[at];
		if (!i)
			mapped->address = (uintptr_t)bytes;
		count_pages(mapped, (const void *)bytes, group->pages);
	}
}

/* Neighbours differ in their file or their access, so that the kernel does not merge them. */
static void map_pieces(const struct group *group, struct mapped *mapped)
{
	unsigned char *all = map_or_exit(NULL, (size_t)group->mappings * PAGE, PROT_NONE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	mapped->address = (uintptr_t)all;
	for (unsigned int i = 0; i < group->mappings; i++) {
		unsigned char *at = all + (size_t)i * PAGE;

		if (i % EACH_PIECE) {
			map_or_exit(at, PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			continue;
		}
		map_or_exit(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, group->fd,
			    (off_t)(i % group->pages) * PAGE);
		(void)*(volatile unsigned char *)at;
		count_pages(mapped, at, 1);
	}
}

/* The bytes of "VmPTE:" in status, and the lines of maps. */
static void count_rest(struct mapped *mapped)
{
	char line[512];
	FILE *file = fopen("/proc/self/maps", "re");

	if (!file)
		err(1, "maps");
	while (fgets(line, sizeof(line), file))
		mapped->vmas += !!strchr(line, '\n');
	fclose(file);
	file = fopen("/proc/self/status", "re");
	if (!file)
		err(1, "status");
	while (fgets(line, sizeof(line), file))
		(void)sscanf(line, "VmPTE: %" SCNu64, &mapped->tables_kib);
	fclose(file);
}

static void start(const struct group *group, pid_t parent, int done)
{
	struct mapped mapped = { 0 };
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (group->order == PIECES)
		map_pieces(group, &mapped);
	else
		map_whole(group, &mapped);
	count_rest(&mapped);
	mapped.pid = getpid();
	if (write(done, &mapped, sizeof(mapped)) != sizeof(mapped))
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
		struct mapped mapped;
		int done[2];

		if (pipe(done))
			err(1, "pipe");
		while (ended < groups[i].processes) {
			while (started < groups[i].processes && started < ended + 2) {
				start(&groups[i], parent, done[1]);
				started++;
			}
			if (started == groups[i].processes && done[1] >= 0) {
				close(done[1]);
				done[1] = -1;
			}
			if (read(done[0], &mapped, sizeof(mapped)) != sizeof(mapped))
				errx(1, "%s: a process died", groups[i].name);
			fprintf(out,
				"%s %d %#" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
				groups[i].name, mapped.pid, mapped.address, mapped.vmas,
				mapped.ptes, mapped.runs, mapped.tables_kib);
			fflush(out);
			ended++;
		}
		close(done[0]);
	}
	/* Processes that are killed from now on leave no zombies. */
	signal(SIGCHLD, SIG_IGN);
	fputs("ready\n", out);
	fclose(out);
	for (;;)
		pause();
}
