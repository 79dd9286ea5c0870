// SPDX-License-Identifier: GPL-2.0-or-later
/* Which code of the module a call reached (Documentation/dev-tools/kcov.rst). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_TRACE_PC	0
#define WORDS		(64UL << 10)

static uint64_t *area;
static uint64_t text;		/* where the module is loaded, 0: not known */
static uint32_t text_of;	/* the load that it belongs to */

void kcov_reset(void)
{
	int fd;

	area = NULL;
	if (options.blind)
		return;
	fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (!ioctl(fd, KCOV_INIT_TRACE, WORDS)) {
		area = mmap(NULL, WORDS * sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (area == MAP_FAILED || ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
			area = NULL;
	}
	/* The mapping keeps it enabled until this process ends; a child has to begin again. */
}

static void find_text(void)
{
	char line[64] = "";
	FILE *file;

	text_of = __atomic_load_n(&shared->loads, __ATOMIC_ACQUIRE);
	text = 0;
	file = fopen("/sys/module/umh_shm/sections/.text", "re");
	if (!file)
		return;
	if (fgets(line, sizeof(line), file))
		text = strtoull(line, NULL, 16);
	fclose(file);
}

bool kcov_start(void)
{
	if (!area)
		return false;
	if (!text || text_of != __atomic_load_n(&shared->loads, __ATOMIC_ACQUIRE))
		find_text();
	__atomic_store_n(&area[0], 0, __ATOMIC_RELAXED);
	return true;
}

bool kcov_end(void)
{
	uint64_t i, n, offset;
	uint8_t bit;
	bool found = false;

	if (!area || !text)
		return false;
	n = __atomic_load_n(&area[0], __ATOMIC_RELAXED);
	if (n > WORDS - 1)
		n = WORDS - 1;
	for (i = 1; i <= n; i++) {
		offset = area[i] - text;
		if (offset >= COVER_BYTES)
			continue;
		bit = (uint8_t)(1U << (offset % 8));
		if (__atomic_load_n(&shared->covered[offset / 8], __ATOMIC_RELAXED) & bit)
			continue;
		__atomic_fetch_or(&shared->covered[offset / 8], bit, __ATOMIC_RELAXED);
		found = true;
	}
	return found;
}
