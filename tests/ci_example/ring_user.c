// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps the ring, writes to each page, prints "ready" and sleeps.
 *
 *   ring_user [private]     with MAP_PRIVATE, which is a mistake
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 4

int main(int argc, char **argv)
{
	int how = argc > 1 && !strcmp(argv[1], "private") ? MAP_PRIVATE : MAP_SHARED;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = open("/dev/ring", O_RDWR | O_CLOEXEC);
	char *ring;

	if (fd < 0) {
		perror("/dev/ring");
		return 1;
	}
	ring = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, how, fd, 0);
	if (ring == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (size_t i = 0; i < PAGES; i++)
		sprintf(ring + i * page, "page %zu", i);
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
