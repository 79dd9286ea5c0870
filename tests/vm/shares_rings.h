// SPDX-License-Identifier: GPL-2.0-or-later
/* For shares_rings: its output, and how it writes, finds and replaces pages of rings. */
#ifndef SHARES_RINGS_H
#define SHARES_RINGS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>


#define PAGE 4096UL
#define USER_TEXT "written by user"

struct vma {
	const char *kind, *part;
	unsigned long owner; /* the same for VMAs of one ring */
	char *start;
	size_t pages;
	size_t first, all; /* its first page in the region; the region's pages */
	unsigned long touched; /* bit mask of the VMA's pages */
};

static FILE *out;

static void check(int fine, const char *what)
{
	if (fine)
		return;
	fprintf(stderr, "Error: %s: %m\n", what);
	exit(1);
}

static char *map(void *address, size_t pages, int flags, int fd, off_t offset, const char *what)
{
	char *start = mmap(address, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, offset);

	check(start != MAP_FAILED, what);
	return start;
}

/* Starts an entry of the output. */
static void fact(const char *is, const struct vma *vma)
{
	static const char *separator = "";

	fprintf(out, "%s\n{\"is\": \"%s\", \"kind\": \"%s\", \"part\": \"%s\"", separator, is, vma->kind,
		vma->part);
	separator = ",";
}

static void is_mapped(const struct vma *vma)
{
	const char *separator = "";

	fact("vma", vma);
	fprintf(out, ", \"owner\": %lu, \"address\": %lu", vma->owner, (unsigned long)vma->start);
	fprintf(out, ", \"mapped_pages\": %zu", vma->pages);
	fprintf(out, ", \"first_page\": %zu, \"pages\": %zu, \"touched\": [", vma->first, vma->all);
	for (size_t page = 0; page < vma->pages; page++) {
		if (!(vma->touched & 1UL << page))
			continue;
		fprintf(out, "%s%zu", separator, page);
		separator = ", ";
	}
	fprintf(out, "]}");
}

static void text_at(const struct vma *vma, const char *by, const char *at, const char *text)
{
	fact("text", vma);
	fprintf(out, ", \"by\": \"%s\", \"address\": %lu, \"offset\": %lu, \"text\": \"%s\"}", by,
		(unsigned long)vma->start, (unsigned long)(at - vma->start), text);
}

/* The user's text in unused bytes of a page that the user may write. */
static void write_text(const struct vma *vma, char *at, const char *text)
{
	memcpy(at, text, strlen(text));
	text_at(vma, "user", at, text);
}

/* The kernel's text, at any place of the mapping. */
static void find_text(const struct vma *vma, char *from, char *to, const char *text)
{
	char *at = memmem(from, to - from, text, strlen(text));

	check(at != NULL, text);
	text_at(vma, "kernel", at, text);
}

/* Replaces a page of a VMA by an anonymous page. */
static void replace(const struct vma *vma, size_t page, size_t pages)
{
	char *at = map(vma->start + page * PAGE, pages, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0,
		       "replace");

	for (size_t number = 0; number < pages; number++)
		memcpy(at + number * PAGE, USER_TEXT, sizeof(USER_TEXT));
	fact("replaced", vma);
	fprintf(out, ", \"address\": %lu, \"page\": %zu}", (unsigned long)at, vma->first + page);
}

/* Replaces a page of a VMA that can be split. One or two VMAs of the ring are left. */
static void replace_within(const struct vma *vma, size_t page)
{
	struct vma before = *vma, after = *vma;

	replace(vma, page, 1);
	before.pages = page;
	before.touched &= (1UL << page) - 1;
	if (before.pages)
		is_mapped(&before);
	after.start += (page + 1) * PAGE;
	after.first += page + 1;
	after.pages -= page + 1;
	after.touched >>= page + 1;
	if (after.pages)
		is_mapped(&after);
}

#endif
