// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process whose page tables audit_bugs.ko corrupts until SIGTERM. Then the bugs are removed, so
 * that the kernel survives the exit.
 *
 *   audit_victim OUTPUT bug|sound NAME...
 *
 * Writes {"pid": ..., "places": {NAME: ADDRESS, ...}} to OUTPUT once it is ready.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "audit/audit_bugs_abi.h"

#define PAGE 4096UL
#define MEBIBYTE (1UL << 20)

static int device;
static bool sound;

static void command(const char *name, int mode, uintptr_t address)
{
	char text[80];
	int length = snprintf(text, sizeof(text), "%s %d %lx", name, mode, (unsigned long)address);

	if (write(device, text, (size_t)length) != length)
		err(1, "%s %d", name, mode);
}

static char *map(char *at, size_t length, int prot, int flags, int fd, long offset)
{
	char *memory = mmap(at, length, prot, flags, fd, offset);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	return memory;
}

/* Anonymous memory, aligned to 2 MiB and without huge pages, so that it has PTE tables. */
static char *anonymous(size_t length)
{
	size_t step = 2 * MEBIBYTE;
	char *room = map(NULL, length + step, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *memory = room + (-(uintptr_t)room & (step - 1));

	map(memory, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (madvise(memory, length, MADV_NOHUGEPAGE))
		warn("madvise");
	return memory;
}

/* The frame of a page of shares_other.ko. The kernel counts this mapping of it. */
static uintptr_t others_frame(void)
{
	int fd = open("/dev/shares_other", O_RDWR), pagemap = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;
	char *memory;

	if (fd < 0 || pagemap < 0)
		err(1, "/dev/shares_other");
	memory = map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*memory = 1;
	if (pread(pagemap, &entry, 8, (off_t)((uintptr_t)memory / PAGE * 8)) != 8 || !(entry >> 63))
		err(1, "/proc/self/pagemap");
	return entry & ((1ULL << 55) - 1);
}

/* A driver's mmap() with a bug in its second page. */
static uintptr_t by_mmap(long kind)
{
	int prot = PROT_READ | (kind == AUDIT_RIGHTS ? 0 : PROT_WRITE);
	long offset = kind | (sound ? AUDIT_SOUND : 0);

	if (kind == AUDIT_OTHERS)
		command("others", sound ? 2 : 1, others_frame());
	return (uintptr_t)map(NULL, 2 * PAGE, prot, MAP_SHARED, device, offset * (long)PAGE) + PAGE;
}

/* The address whose entry the module corrupts. Touch the page before it, to have a table. */
static uintptr_t by_module(const char *name)
{
	char *memory = anonymous(4 * MEBIBYTE), *place = memory + PAGE;

	*memory = 1;
	if (!strcmp(name, "outside") && munmap(place, PAGE))
		err(1, "munmap");
	if (!strcmp(name, "table-twice") || !strcmp(name, "top-level"))
		place = memory;
	if (!strcmp(name, "table-unmarked"))
		place = memory + 2 * MEBIBYTE;
	command(name, sound ? 2 : 1, (uintptr_t)place);
	return !strcmp(name, "table-twice") ? (uintptr_t)place + 2 * MEBIBYTE : (uintptr_t)place;
}

static const struct {
	const char *name;
	long kind;			/* page offset of mmap(); -1: the module makes the bug */
} bugs[] = {
	{ "rights", AUDIT_RIGHTS }, { "table", AUDIT_TABLE }, { "free", AUDIT_FREE },
	{ "slab", AUDIT_SLAB }, { "types", AUDIT_TYPES }, { "outside", -1 },
	{ "free-listed", AUDIT_LISTED }, { "stack", AUDIT_STACK }, { "others", AUDIT_OTHERS },
	{ "slab-counted", -1 }, { "uncounted", -1 }, { "table-twice", -1 },
	{ "table-unmarked", -1 }, { "top-level", -1 }, { NULL, 0 },
};

static long kind_of(const char *name)
{
	for (int i = 0; bugs[i].name; i++) {
		if (!strcmp(bugs[i].name, name))
			return bugs[i].kind;
	}
	errx(1, "unknown bug %s", name);
}

int main(int argc, char **argv)
{
	char part[256];
	sigset_t set;
	FILE *out;
	int number;

	if (argc < 4)
		errx(1, "usage: audit_victim OUTPUT bug|sound NAME...");
	/* Reports write this name to a terminal and to a JUnit file. */
	if (prctl(PR_SET_NAME, "victim\033[31m\nS"))
		err(1, "prctl");
	sound = !strcmp(argv[2], "sound");
	device = open("/dev/audit_bugs", O_RDWR);
	if (device < 0)
		err(1, "/dev/audit_bugs");
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	snprintf(part, sizeof(part), "%s.part", argv[1]);
	out = fopen(part, "w");
	if (!out)
		err(1, "%s", part);
	fprintf(out, "{\"pid\": %d, \"places\": {", getpid());
	for (int i = 3; i < argc; i++) {
		long kind = kind_of(argv[i]);
		uintptr_t place = kind < 0 ? by_module(argv[i]) : by_mmap(kind);

		fprintf(out, "%s\"%s\": %lu", i > 3 ? ", " : "", argv[i], (unsigned long)place);
	}
	fprintf(out, "}}\n");
	if (fclose(out) || rename(part, argv[1]))
		err(1, "%s", argv[1]);
	sigwait(&set, &number);
	for (int i = 3; i < argc; i++) {
		if (kind_of(argv[i]) < 0)
			command(argv[i], 0, 0);
	}
	return 0;
}
