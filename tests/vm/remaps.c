// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps, moves and unmaps memory in a loop until it is killed, and keeps one mapping. A reader that
 * does not hold the lock sees a torn list of VMAs.
 *
 *   remaps OUTPUT
 */
#include <sys/wait.h>

#include "shares_maps.h"

#define AREAS 24
#define AREA_PAGES 8
#define AREA_BYTES (AREA_PAGES * PAGE)

static char *areas[AREAS];

/* Every second area is executable, so that neighbours do not merge. */
static void map(int number)
{
	int access = READ_WRITE | (number & 1 ? PROT_EXEC : 0);

	areas[number] = checked(mmap(NULL, AREA_BYTES, access, PRIVATE, -1, 0), "mmap");
	areas[number][0] = 1;
	areas[number][3 * PAGE] = 1;
}

static void split(int number)
{
	if (mprotect(areas[number] + 3 * PAGE, PAGE, PROT_NONE))
		die("mprotect");
}

static void move(int number)
{
	char *away = areas[number] + 5 * PAGE;
	char *to = checked(mmap(NULL, PAGE, PROT_NONE, PRIVATE, -1, 0), "mmap");

	checked(mremap(away, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), "mremap");
	madvise(areas[number], PAGE, MADV_DONTNEED);
	munmap(to, PAGE);
}

static void unmap(int number)
{
	if (munmap(areas[number], AREA_BYTES))
		die("munmap");
}

static void each(void (*what)(int number))
{
	for (int number = 0; number < AREAS; number++)
		what(number);
}

int main(int argc, char **argv)
{
	int fd = checked_fd(memfd_create("stays", 0), "memfd_create");
	struct region stays;
	char *address;

	if (argc < 2)
		return 2;
	if (ftruncate(fd, 4 * PAGE))
		die("ftruncate");
	begin(argv[1]);
	address = checked(mmap(NULL, 4 * PAGE, READ_WRITE, MAP_SHARED, fd, 0), "memfd");
	stays = region_at("stays", "shmem", "", address, 4);
	write_pages(&stays, 0xf);
	report(&stays);
	finish(argv[1]);
	for (unsigned int round = 0;; round++) {
		each(map);
		each(split);
		each(move);
		if (round % 16 == 0) {
			pid_t child = fork();

			if (!child)
				_exit(0);
			waitpid(child, NULL, 0);
		}
		each(unmap);
	}
}
