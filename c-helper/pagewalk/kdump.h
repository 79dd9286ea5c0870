/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of a kdump-compressed dump, for any number of threads.
 *
 *   ... | bitmap: a bit per page | descriptors, one per set bit | data of the pages
 *
 * The caller has checked the headers and gives the layout. Everything else is untrusted: a page with
 * an unexpected descriptor or unexpected data is not read here, and the caller falls back.
 */
#ifndef PAGEWALK_KDUMP_H
#define PAGEWALK_KDUMP_H

#include "pagewalk.h"

#define PW_KDUMP_PAGE 4096

/* Decompress exactly room bytes. Returns false if the data is not that. */
struct pw_codec {
	uint32_t flag;			/* of a descriptor; 0 ends the list */
	bool (*decode)(const void *data, size_t length, void *to, size_t room);
};

/* lzo.c: a decoder of LZO1X. */
bool pw_lzo_decode(const void *data, size_t length, void *to, size_t room);

struct pw_kdump_layout {
	uint64_t bitmap_at;		/* offset in the file of the bit of page 0 */
	uint64_t first, end;		/* the pages that have bits */
	uint64_t descriptors_at;
};

struct pw_kdump;

/*
 * file: the parts of the file that there are, with their offset as paddr, sorted and apart; the rest
 * reads as zeros. codecs and what file points at are used until the end. Returns NULL if there is no
 * memory.
 */
struct pw_kdump *pw_kdump_create(const struct pw_direct *file, size_t count,
				 const struct pw_kdump_layout *layout,
				 const struct pw_codec *codecs);
void pw_kdump_destroy(struct pw_kdump *kdump);

/* Read physical memory inside one page. Returns false if it must be read otherwise. */
bool pw_kdump_read(const struct pw_kdump *kdump, uint64_t paddr, void *data, size_t length);

#endif
