// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps shared memory of each kind that tmpfs provides, and sleeps.
 *
 *   shares_shmem OUTPUT DIRECTORY
 *
 * DIRECTORY is on a tmpfs, DIRECTORY/huge is a tmpfs with huge=always. Needs swap
 * space.
 */
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "shares_maps.h"

#define HUGE_PAGE (2 << 20)
/* Old headers lack it. */
#define PAGEOUT 21	/* MADV_PAGEOUT */

static int memfd(const char *name, size_t pages, unsigned int flags)
{
	int fd = checked_fd(memfd_create(name, flags), "memfd_create");

	if (ftruncate(fd, (off_t)pages * PAGE))
		die("ftruncate");
	return fd;
}

static struct region shmem(const char *label, int fd, size_t pages, size_t first_page,
			   size_t region_pages)
{
	char *address = checked(mmap(NULL, pages * PAGE, READ_WRITE, MAP_SHARED, fd,
				     (off_t)first_page * PAGE), label);
	struct region region = region_at(label, "shmem", "", address, pages);

	region.first_page = first_page;
	region.region_pages = region_pages;
	return region;
}

static void shmem_memfd(void)
{
	int fd = memfd("a memfd", 10, 0);
	struct region region = shmem("memfd", fd, 7, 2, 10);

	write_pages(&region, 0x13);
	/* Allocated but not mapped: page 7 of the file, 5 of the mapping. */
	if (fallocate(fd, 0, 7 * PAGE, PAGE))
		die("fallocate");
	report(&region);

	region = shmem("replaced", memfd("replaced", 5, 0), 5, 0, 5);
	write_pages(&region, 0x1f);
	replace_page(&region, 2);
}

static char directory[256];

static int open_file(int flags)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/pageproof-file", directory);
	return checked_fd(open(path, flags, 0600), path);
}

static void shmem_reader(void)
{
	int fd = open_file(O_RDONLY);
	char *address = checked(mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, fd, 0), "reader");
	struct region region = region_at("tmpfs", "shmem", "", address, 3);

	for (int page = 0; page < 2; page++)
		if (region.address[page * PAGE] != 'p')
			die("another file");
	region.touched = region.written = 3;
	report(&region);
}

static void shmem_file(void)
{
	int fd = open_file(O_RDWR | O_CREAT | O_TRUNC);
	struct region region;
	char *private;

	/* The file ends inside its last page. */
	if (ftruncate(fd, 2 * PAGE + 100))
		die("ftruncate");
	region = shmem("tmpfs", fd, 3, 0, 3);
	write_pages(&region, 0x3);
	report(&region);
	private = checked(mmap(NULL, 3 * PAGE, READ_WRITE, MAP_PRIVATE, fd, 0), "private");
	private[0] = 'P';
	region = region_at("private", "none", "", private, 3);
	report(&region);
	in_child(shmem_reader);
}

static void shmem_sysv(void)
{
	int id = checked_fd(shmget(IPC_PRIVATE, 4 * PAGE, IPC_CREAT | 0600), "shmget");
	struct region region = region_at("sysv", "shmem", "",
					 checked(shmat(id, NULL, 0), "shmat"), 4);

	if (shmctl(id, IPC_RMID, NULL))
		die("shmctl");
	write_pages(&region, 0x5);
	report(&region);
}

static void shmem_anonymous(void)
{
	char *address = checked(mmap(NULL, 3 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
				"MAP_ANONYMOUS");
	struct region region = region_at("anonymous", "shmem", "", address, 3);

	write_pages(&region, 0x2);
	report(&region);
}

/* Sum of a line of smaps over the mappings that begin in a range, in kB. */
static long smaps(const char *name, const char *from, size_t length)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	uintptr_t start = 0, first, end;
	char line[512];
	long sum = 0, value;

	if (!file)
		die("smaps");
	while (fgets(line, sizeof(line), file)) {
		/* "AnonHugePages" begins with a hexadecimal digit, too. */
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &first, &end) == 2)
			start = first;
		if (start - (uintptr_t)from < length && !strncmp(line, name, strlen(name)) &&
		    sscanf(line + strlen(name), "%ld", &value) == 1)
			sum += value;
	}
	fclose(file);
	return sum;
}

static void shmem_huge(void)
{
	char path[512];
	struct region region;
	int fd;

	/* On the tmpfs with huge=always. */
	snprintf(path, sizeof(path), "%s/huge/file", directory);
	fd = checked_fd(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), path);
	if (ftruncate(fd, 2 * HUGE_PAGE))
		die("ftruncate");
	region = shmem("huge", fd, 2 * HUGE_PAGE / PAGE, 0, 2 * HUGE_PAGE / PAGE);
	if (madvise(region.address, 2 * HUGE_PAGE, MADV_HUGEPAGE))
		die("MADV_HUGEPAGE");
	write_pages(&region, 0x21);
	if (smaps("ShmemPmdMapped:", region.address, 2 * HUGE_PAGE) != HUGE_PAGE / 1024) {
		errno = ENOMEM;
		die("no huge page");
	}
	report(&region);
}

/*
 * A page with PROT_NONE: its entry has no PRESENT bit but still holds the frame. NUMA balancing
 * makes such entries too.
 */
static void shmem_prot_none(void)
{
	struct region region = shmem("prot-none", memfd("prot-none", 8, 0), 8, 0, 8);
	struct region part = region;

	write_pages(&region, 0xff);
	if (mprotect(region.address + 3 * PAGE, PAGE, PROT_NONE))
		die("mprotect");
	/* Three VMAs now. */
	for (size_t first = 0; first < region.pages; first += part.pages) {
		part.address = region.address + first * PAGE;
		part.first_page = first;
		part.pages = first == 0 ? 3 : first == 3 ? 1 : 4;
		part.touched = part.written = (1ULL << part.pages) - 1;
		report(&part);
	}
}

static void shmem_swapped(void)
{
	struct region region = shmem("swapped", memfd("swapped", 6, 0), 6, 0, 6);
	int tries = 0;

	write_pages(&region, 0x3f);
	/* A page may stay on another CPU's list for a while. */
	while (smaps("Swap:", region.address, 4 * PAGE) != 16) {
		if (madvise(region.address, 4 * PAGE, PAGEOUT))
			die("MADV_PAGEOUT");
		if (++tries > 1000) {
			errno = EBUSY;
			die("pages are not swapped out");
		}
		usleep(1000);
	}
	region.touched = region.written = 0x30;
	report(&region);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	snprintf(directory, sizeof(directory), "%s", argv[2]);
	begin(argv[1]);
	/* First, so that the child maps nothing else and verify can decide all its pages. */
	in_child(shmem_prot_none);
	shmem_memfd();
	shmem_file();
	shmem_sysv();
	shmem_anonymous();
	shmem_huge();
	shmem_swapped();
	end(argv[1]);
}
