// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps memory that the kernel removes from its direct map, if it can, and sleeps.
 *
 *   shares_secret OUTPUT
 */
#include <sys/syscall.h>

#include "shares_maps.h"

/* Old headers lack it. */
#define MEMFD_SECRET 447

int main(int argc, char **argv)
{
	struct region region = region_at("secret", "none", "", NULL, 2);
	int fd;

	if (argc != 2)
		return 2;
	begin(argv[1]);
	fd = (int)syscall(MEMFD_SECRET, 0);
	/* Since 5.14 (1507f51255c9). */
	if (fd < 0 && errno == ENOSYS)
		end(argv[1]);
	checked_fd(fd, "memfd_secret");
	if (ftruncate(fd, 2 * PAGE))
		die("ftruncate");
	region.address = checked(mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED, fd, 0), "secret");
	write_pages(&region, 0x3);
	report(&region);
	end(argv[1]);
}
