// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For the programs that map memory shared by the kernel, each kind for real, and sleep.
 *
 * When everything is mapped, they write one JSON object to the file in their first
 * argument. They write "pageproof LABEL PAGE" to a page; PAGE counts from the start
 * of the region.
 */
#ifndef SHARES_MAPS_H
#define SHARES_MAPS_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define READ_WRITE (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

/* One mapping. Bits of the masks are pages of the mapping. */
struct region {
	const char *label;
	const char *kind;
	const char *part;
	char *address;
	size_t pages;
	size_t first_page;
	size_t region_pages;
	uint64_t touched;
	uint64_t written;
	size_t offset;		/* of the text in its page */
};

static FILE *out;
static char unfinished[512];	/* name of the incomplete output */
static bool listed;

static inline void die(const char *what)
{
	fprintf(stderr, "Error: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline void *checked(void *address, const char *what)
{
	if (address == MAP_FAILED)
		die(what);
	return address;
}

static inline int checked_fd(int fd, const char *what)
{
	if (fd < 0)
		die(what);
	return fd;
}

static inline void put_pages(const char *name, uint64_t mask)
{
	const char *comma = "";

	fprintf(out, ", \"%s\": [", name);
	for (int page = 0; page < 64; page++) {
		if (!(mask >> page & 1))
			continue;
		fprintf(out, "%s%d", comma, page);
		comma = ", ";
	}
	fputs("]", out);
}

static inline void report(const struct region *region)
{
	fprintf(out, "%s\n{\"label\": \"%s\", \"kind\": \"%s\", \"part\": \"%s\", \"pid\": %d",
		listed ? "," : "", region->label, region->kind, region->part, getpid());
	fprintf(out, ", \"address\": %" PRIuPTR ", \"pages\": %zu, \"first_page\": %zu",
		(uintptr_t)region->address, region->pages, region->first_page);
	fprintf(out, ", \"region_pages\": %zu, \"offset\": %zu", region->region_pages,
		region->offset);
	put_pages("touched", region->touched);
	put_pages("written", region->written);
	fputs("}", out);
	listed = true;
}

static inline struct region region_at(const char *label, const char *kind, const char *part,
				      void *address, size_t pages)
{
	return (struct region){
		.label = label,
		.kind = kind,
		.part = part,
		.address = address,
		.pages = pages,
		.region_pages = pages,
	};
}

static inline void write_pages(struct region *region, uint64_t mask)
{
	for (size_t page = 0; page < 64; page++)
		if (mask >> page & 1)
			snprintf(region->address + page * PAGE + region->offset, 64,
				 "pageproof %s %zu", region->label, region->first_page + page);
	region->written |= mask;
	region->touched |= mask;
}

static inline void stay(void)
{
	for (;;)
		pause();
}

/* A child that maps and reports something, and sleeps. */
static inline void in_child(void (*what)(void))
{
	int ready[2];
	char byte;

	if (pipe(ready))
		die("pipe");
	fflush(out);
	switch (fork()) {
	case -1:
		die("fork");
		break;
	case 0:
		what();
		fflush(out);
		if (write(ready[1], "", 1) != 1)
			die("write");
		stay();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) {
		errno = ECHILD;
		die("child");
	}
	close(ready[0]);
	listed = true;
}

/* Replaces memory by an anonymous mapping. */
static inline void replace(char *address, size_t length)
{
	checked(mmap(address, length, READ_WRITE, PRIVATE | MAP_FIXED, -1, 0), "MAP_FIXED");
	memset(address, 'x', length);
}

/* Replaces one page, and reports the three resulting mappings. */
static inline void replace_page(const struct region *region, size_t page)
{
	struct region part = *region;

	replace(region->address + page * PAGE, PAGE);
	part.pages = page;
	part.touched &= (1ULL << page) - 1;
	part.written &= part.touched;
	report(&part);

	part = *region;
	part.address += (page + 1) * PAGE;
	part.pages -= page + 1;
	part.first_page += page + 1;
	part.touched >>= page + 1;
	part.written >>= page + 1;
	report(&part);

	part = region_at("replaced-page", "none", "", region->address + page * PAGE, 1);
	report(&part);
}

static inline void open_output(const char *output)
{
	snprintf(unfinished, sizeof(unfinished), "%s.part", output);
	out = fopen(unfinished, "w");
	if (!out)
		die(unfinished);
}

/* Renames the output, so that it is complete when it appears. */
static inline void publish(const char *output)
{
	if (fclose(out) || rename(unfinished, output))
		die(output);
}

static inline void begin(const char *output)
{
	open_output(output);
	fprintf(out, "{\"pid\": %d, \"regions\": [", getpid());
}

static inline void finish(const char *output)
{
	fputs("]}\n", out);
	publish(output);
}

static inline void end(const char *output)
{
	finish(output);
	stay();
}

#endif
