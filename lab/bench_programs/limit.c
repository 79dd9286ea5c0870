// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The limit of any walker: copy page tables from a dump that is mapped into memory, nothing else.
 *
 *   limit DUMP OFFSETS THREADS
 *
 * OFFSETS has the offset of each table in DUMP, as 64-bit numbers in this machine's byte order.
 * Prints the seconds of each pass, the first included.
 */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TABLE 4096
#define BUFFER 512			/* tables: 2 MiB, which fit into the CPU's cache */
#define PASSES 10
#define MOST_THREADS 64

struct share {
	const unsigned char *dump;
	const uint64_t *offsets;
	size_t count;
	unsigned char *buffer;
};

struct file {
	const unsigned char *bytes;
	size_t length;
};

static struct file map(const char *name)
{
	struct file file;
	struct stat about;
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &about))
		err(1, "%s", name);
	file.length = (size_t)about.st_size;
	file.bytes = mmap(NULL, file.length, PROT_READ, MAP_SHARED, fd, 0);
	if (file.bytes == MAP_FAILED)
		err(1, "%s", name);
	close(fd);
	return file;
}

static void *copy(void *arg)
{
	struct share *share = arg;

	for (size_t i = 0; i < share->count; i++) {
		unsigned char *to = share->buffer + i % BUFFER * TABLE;

		memcpy(to, share->dump + share->offsets[i], TABLE);
		__asm__ volatile("" : : "r"(to) : "memory");	/* keep the copy */
	}
	return NULL;
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static void copy_all(struct share *shares, unsigned int threads)
{
	pthread_t thread[MOST_THREADS];

	for (unsigned int i = 1; i < threads; i++) {
		if (pthread_create(&thread[i], NULL, copy, &shares[i]))
			errx(1, "cannot start thread %u of %u", i, threads);
	}
	copy(&shares[0]);
	for (unsigned int i = 1; i < threads; i++)
		pthread_join(thread[i], NULL);
}

int main(int argc, char **argv)
{
	unsigned int threads = argc == 4 ? (unsigned int)atoi(argv[3]) : 0;
	struct share shares[MOST_THREADS];
	struct file dump, offsets;
	const uint64_t *all;
	size_t count;

	if (!threads || threads > MOST_THREADS)
		errx(2, "usage: limit DUMP OFFSETS THREADS");
	dump = map(argv[1]);
	offsets = map(argv[2]);
	all = (const uint64_t *)(const void *)offsets.bytes;
	count = offsets.length / sizeof(*all);
	for (size_t i = 0; i < count; i++) {
		if (all[i] > dump.length || dump.length - all[i] < TABLE)
			errx(1, "%s: table %zu is beyond the end of the file", argv[1], i);
	}
	for (unsigned int i = 0; i < threads; i++) {
		size_t first = count * i / threads;

		shares[i] = (struct share){ dump.bytes, all + first,
					    count * (i + 1) / threads - first, NULL };
		shares[i].buffer = aligned_alloc(TABLE, (size_t)BUFFER * TABLE);
		if (!shares[i].buffer)
			err(1, "aligned_alloc");
		memset(shares[i].buffer, 0, (size_t)BUFFER * TABLE);
	}
	for (unsigned int pass = 0; pass < PASSES; pass++) {
		double start = now();

		copy_all(shares, threads);
		printf("%.9f\n", now() - start);
	}
	return 0;
}
