// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps huge pages of hugetlbfs and, if the kernel has them, dma-bufs of memfds, then sleeps.
 *
 *   shares_buffers OUTPUT
 *
 * Needs four free pages of hugetlbfs.
 */
#include <fcntl.h>
#include <linux/dma-buf.h>
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

/* The second of two huge pages of a file; the first one is never allocated. */
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

/* Every seventh page of a memfd, wrapping around, so that neighbours in one are not in the other. */
static int udmabuf(int device, const char *name, uint32_t pages)
{
	struct udmabuf_create_list *list;
	int fd = memfd(name, pages * PAGE, MFD_ALLOW_SEALING);

	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		die("F_ADD_SEALS");
	list = calloc(1, sizeof(*list) + pages * sizeof(list->list[0]));
	if (!list)
		die("calloc");
	list->count = pages;
	/* Allocate in another order than the list: adjacent frames would become one entry. */
	for (uint32_t page = 0; page < pages; page++)
		if (pwrite(fd, "", 1, (off_t)page * PAGE) != 1)
			die("pwrite");
	for (uint32_t page = 0; page < pages; page++) {
		list->list[page].memfd = (uint32_t)fd;
		list->list[page].offset = (uint64_t)(7 * page % pages) * PAGE;
		list->list[page].size = PAGE;
	}
	fd = checked_fd(ioctl(device, UDMABUF_CREATE_LIST, list), "UDMABUF_CREATE_LIST");
	free(list);
	return fd;
}

static struct region udmabuf_at(const char *label, int fd, size_t pages, size_t first_page)
{
	void *address = checked(mmap(NULL, (pages - first_page) * PAGE, READ_WRITE, MAP_SHARED, fd,
				     (off_t)first_page * PAGE), label);
	struct region region = region_at(label, "udmabuf", "", address, pages - first_page);

	region.first_page = first_page;
	region.region_pages = pages;
	return region;
}

static void udmabufs(void)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	int device = open("/dev/udmabuf", O_RDWR), fd;
	struct region region;

	if (device < 0)
		return;
	/* More pages than a page of scatterlist holds; the kernel makes the list for this call. */
	fd = udmabuf(device, "buffer", 300);
	region = udmabuf_at("udmabuf", fd, 300, 1);
	if (ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync))
		die("DMA_BUF_IOCTL_SYNC");
	write_pages(&region, 0x8000000000000003);
	report(&region);

	region = udmabuf_at("replaced", udmabuf(device, "another", 3), 3, 0);
	write_pages(&region, 0x7);
	replace_page(&region, 1);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	begin(argv[1]);
	hugetlb_memfd();
	hugetlb_sysv();
	hugetlb_replaced();
	udmabufs();
	end(argv[1]);
}
