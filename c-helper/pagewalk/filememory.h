/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Physical memory in a file that may change, such as /proc/PID/mem of the process that runs a guest,
 * for any number of threads. It is copied, never mapped, so a part that goes away is no SIGBUS.
 */
#ifndef PAGEWALK_FILEMEMORY_H
#define PAGEWALK_FILEMEMORY_H

#include "pagewalk.h"

struct pw_file_part {
	uint64_t paddr, length;
	uint64_t offset;		/* in the file, with length at most INT64_MAX */
};

struct pw_file_memory {
	const struct pw_file_part *parts;	/* sorted by paddr, without overlaps */
	size_t count;
	int descriptor;
};

/*
 * Read memory inside one part. Returns false if it must be read otherwise, also if the file gives
 * less; data may then be partly written.
 */
bool pw_file_read(const struct pw_file_memory *memory, uint64_t paddr, void *data, size_t length);

#endif
