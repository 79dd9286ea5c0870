// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps huge pages of hugetlbfs, and dma-bufs of memfds where the kernel has them, and stays.
 *
 *   shares_buffers OUTPUT
 *
 * There have to be four free pages of hugetlbfs.
 */
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "shares_maps.h"

#define HUGE_PAGE (2 << 20)
#define HUGE_PAGES (HUGE_PAGE / PAGE)

static int memfd(const char *name, size_t bytes, unsigned int flags)
{
	int fd = checked_fd(memfd_create(name, flags), "memfd_create");

	if (ftruncate(fd, (off_t)bytes))
		die("ftruncate");
	return fd;
}

/* The second of two huge pages of a file; the first one is never there. */
static void hugetlb_memfd(void)
{
	int fd = memfd("huge memfd", 2 * HUGE_PAGE, MFD_HUGETLB);
	void *address = checked(mmap(NULL, HUGE_PAGE, READ_WRITE, MAP_SHARED, fd, HUGE_PAGE),
				"huge memfd");
	struct region region = region_at("huge-memfd", "hugetlb", "", address, HUGE_PAGES);

	region.first_page = HUGE_PAGES;
	region.region_pages = 2 * HUGE_PAGES;
	write_pages(&region, 0x8000000000000013);
	report(&region);
}

static void hugetlb_sysv(void)
{
	int id = checked_fd(shmget(IPC_PRIVATE, HUGE_PAGE, IPC_CREAT | SHM_HUGETLB | 0600), "shmget");
	struct region region = region_at("huge-sysv", "hugetlb", "",
					 checked(shmat(id, NULL, 0), "shmat"), HUGE_PAGES);

	if (shmctl(id, IPC_RMID, NULL))
		die("shmctl");
	write_pages(&region, 0x5);
	report(&region);
}

/* Two huge pages, the second one replaced. */
static void hugetlb_replaced(void)
{
	int fd = memfd("huge replaced", 2 * HUGE_PAGE, MFD_HUGETLB);
	char *address = checked(mmap(NULL, 2 * HUGE_PAGE, READ_WRITE, MAP_SHARED, fd, 0), "huge");
	struct region region = region_at("replaced", "hugetlb", "", address, HUGE_PAGES);

	region.region_pages = 2 * HUGE_PAGES;
	write_pages(&region, 0x1);
	address[HUGE_PAGE] = 1;
	replace(address + HUGE_PAGE, HUGE_PAGE);
	report(&region);
	region = region_at("replaced-page", "none", "", address + HUGE_PAGE, HUGE_PAGES);
	report(&region);
}

/* Pages 3, 4 and 0 of a memfd, in this order. */
static int udmabuf(int device, const char *name)
{
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item items[2];
	} list = { .head = { .count = 2 } };
	int fd = memfd(name, 5 * PAGE, MFD_ALLOW_SEALING);

	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		die("F_ADD_SEALS");
	list.items[0] = (struct udmabuf_create_item){ fd, 0, 3 * PAGE, 2 * PAGE };
	list.items[1] = (struct udmabuf_create_item){ fd, 0, 0, PAGE };
	return checked_fd(ioctl(device, UDMABUF_CREATE_LIST, &list), "UDMABUF_CREATE_LIST");
}

static void udmabufs(void)
{
	int device = open("/dev/udmabuf", O_RDWR), fd;
	struct region region;

	if (device < 0)
		return;
	fd = udmabuf(device, "buffer");
	region = region_at("udmabuf", "udmabuf", "",
			   checked(mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED, fd, PAGE), "udmabuf"), 2);
	region.first_page = 1;
	region.region_pages = 3;
	write_pages(&region, 0x3);
	report(&region);

	fd = udmabuf(device, "another");
	region = region_at("replaced", "udmabuf", "",
			   checked(mmap(NULL, 3 * PAGE, READ_WRITE, MAP_SHARED, fd, 0), "udmabuf"), 3);
	write_pages(&region, 0x7);
	replace_page(&region, 1);
}

int main(int argc, char **argv)
{
	char part[512];

	if (argc != 2)
		return 2;
	snprintf(part, sizeof(part), "%s.part", argv[1]);
	begin(part);
	hugetlb_memfd();
	hugetlb_sysv();
	hugetlb_replaced();
	udmabufs();
	end(part, argv[1]);
}
