// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps memory by its physical address, each kind on its real device, and sleeps.
 *
 *   shares_physical OUTPUT devmem|pci|uio
 *
 * It does not read device memory, because a read can have side effects. remap_pfn_range() fills
 * the page tables at once. "uio" needs shares_uio.ko.
 */
#include <fcntl.h>
#include <glob.h>
#include <linux/pci.h>
#include <sys/ioctl.h>

#include "shares_maps.h"

#define BIOS 0xf0000
/*
 * The page in which the extended BIOS data area begins. It is only partly RAM, so the kernel does
 * not use it (arch/x86/kernel/e820.c).
 */
#define LOW 0x9f000
#define HPET 0xfed00000
#define TEXT_OFFSET 0x100
#define BARS 6
#define MEMORY 0x200	/* IORESOURCE_MEM of include/linux/ioport.h */
#define DEVICES "/sys/bus/pci/devices/"

static struct region map(const char *label, const char *kind, const char *part, int fd, int prot,
			 int flags, off_t offset, size_t pages)
{
	void *address = checked(mmap(NULL, pages * PAGE, prot, flags, fd, offset), label);
	struct region region = region_at(label, kind, part, address, pages);

	region.touched = (1ULL << pages) - 1;
	return region;
}

/* devmem */

/* The number of pages that physical addresses can name. */
static size_t all_pages(void)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	char line[4096];
	int bits;

	if (!file)
		die("/proc/cpuinfo");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "address sizes : %d bits physical", &bits) == 1) {
			fclose(file);
			return 1UL << bits >> 12;
		}
	}
	errno = ENOENT;
	die("address sizes");
	return 0;
}

static struct region map_memory(const char *label, int flags, int prot, off_t offset, size_t pages)
{
	int fd = checked_fd(open("/dev/mem", flags), "/dev/mem");
	struct region region = map(label, "devmem", "", fd, prot, MAP_SHARED, offset, pages);

	close(fd);
	region.first_page = (size_t)offset / PAGE;
	region.region_pages = all_pages();
	return region;
}

static void devmem(void)
{
	int fd = checked_fd(open("/dev/mem", O_RDONLY), "/dev/mem");
	struct region region = map_memory("bios", O_RDONLY, PROT_READ, BIOS, 2);

	report(&region);

	region = map_memory("low", O_RDWR, READ_WRITE, LOW, 1);
	region.offset = TEXT_OFFSET;
	write_pages(&region, 0x1);
	report(&region);

	region = map_memory("hpet", O_RDWR | O_SYNC, READ_WRITE, HPET, 1);
	report(&region);

	region = map_memory("replaced", O_RDONLY, PROT_READ, BIOS + 0x4000, 3);
	replace_page(&region, 1);

	region = map("private", "none", "", fd, PROT_READ, MAP_PRIVATE, BIOS, 1);
	report(&region);
}

/* pci */

struct resource {
	char path[320];
	char device[64];
	char part[16];
	off_t start;
	size_t pages;
};

static bool has_driver(const char *device, char *driver, size_t size)
{
	char path[320];
	ssize_t length;

	snprintf(path, sizeof(path), DEVICES "%s/driver", device);
	length = readlink(path, driver, size - 1);
	if (length < 0)
		return false;
	driver[length] = '\0';
	return true;
}

/* The first memory BAR of a device, at or after a given one. */
static bool memory_of(const char *device, int first, struct resource *ret)
{
	unsigned long long start, end, flags;
	char path[320];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), DEVICES "%s/resource", device);
	file = fopen(path, "r");
	if (!file)
		die(path);
	for (int bar = 0; bar < BARS && !found; bar++) {
		if (fscanf(file, "%llx %llx %llx", &start, &end, &flags) != 3)
			break;
		if (bar < first || !(flags & MEMORY))
			continue;
		snprintf(ret->path, sizeof(ret->path), DEVICES "%s/resource%d", device, bar);
		snprintf(ret->device, sizeof(ret->device), "%s", device);
		snprintf(ret->part, sizeof(ret->part), "resource%d", bar);
		ret->start = (off_t)start;
		ret->pages = (end - start) / PAGE + 1;
		found = true;
	}
	fclose(file);
	return found;
}

/* Memory of a device that is bound to a driver, or of one without a driver (NULL). */
static struct resource find_memory(const char *wanted, int first)
{
	struct resource found = { .pages = 0 };
	char driver[256];
	glob_t names;

	if (glob(DEVICES "*", 0, NULL, &names))
		die(DEVICES);
	for (size_t number = 0; number < names.gl_pathc; number++) {
		const char *device = names.gl_pathv[number] + strlen(DEVICES);
		bool driven = has_driver(device, driver, sizeof(driver));

		if (wanted ? !driven || !strstr(driver, wanted) : driven)
			continue;
		if (memory_of(device, first, &found)) {
			globfree(&names);
			return found;
		}
	}
	errno = ENODEV;
	die(wanted ? wanted : "a device without a driver");
	return found;
}

static struct region map_resource(const char *label, const struct resource *resource)
{
	int fd = checked_fd(open(resource->path, O_RDWR), resource->path);

	return map(label, "pci", resource->part, fd, READ_WRITE, MAP_SHARED, 0, resource->pages);
}

/* All pages except the first, through procfs, where the offset is the physical address. */
static struct region map_by_procfs(const char *label, const struct resource *resource)
{
	struct region region;
	char path[320];
	int fd;

	/* 0000:00:04.0 is /proc/bus/pci/00/04.0 */
	snprintf(path, sizeof(path), "/proc/bus/pci/%.2s/%s", resource->device + 5,
		 resource->device + 8);
	fd = checked_fd(open(path, O_RDWR), path);
	if (ioctl(fd, PCIIOC_MMAP_IS_MEM))
		die("PCIIOC_MMAP_IS_MEM");
	region = map(label, "pci", resource->part, fd, READ_WRITE, MAP_SHARED,
		     resource->start + PAGE, resource->pages - 1);
	region.first_page = 1;
	region.region_pages = resource->pages;
	return region;
}

static void pci(void)
{
	struct resource driven = find_memory("virtio-pci", 4), idle = find_memory(NULL, 0);
	int fd = checked_fd(open(driven.path, O_RDONLY), driven.path);
	struct region region = map_resource("driven", &driven);

	report(&region);
	region = map_by_procfs("procfs", &driven);
	report(&region);
	region = map_resource("idle", &idle);
	report(&region);
	region = map_resource("replaced", &driven);
	replace_page(&region, 1);
	region = map("private", "none", "", fd, PROT_READ, MAP_PRIVATE, 0, 1);
	report(&region);
}

/* uio */

static int uio_fd;

static struct region map_number(const char *label, int number, size_t pages)
{
	static const char *const parts[] = { "map0", "map1", "map2" };
	struct region region = map(label, "uio", parts[number], uio_fd, READ_WRITE, MAP_SHARED,
				   (off_t)number * PAGE, pages);

	region.touched = number == 2;	/* the other maps fault pages in */
	region.offset = TEXT_OFFSET;
	return region;
}

/* A split-off rear part does not show the number of its map. */
static void split(void)
{
	struct region region = map_number("split", 1, 3);

	region.kind = "none";
	region.address[3 * PAGE - 1] = 's';
	if (munmap(region.address, 2 * PAGE))
		die("munmap");
	region.address += 2 * PAGE;
	region.pages = 1;
	report(&region);
}

static void uio(void)
{
	struct region region;

	uio_fd = checked_fd(open("/dev/uio0", O_RDWR), "/dev/uio0");
	in_child(split);	/* first, so that it does not inherit other mappings */
	region = map_number("logical", 0, 1);
	write_pages(&region, 0x1);
	report(&region);
	region = map_number("virtual", 1, 3);
	write_pages(&region, 0x5);
	report(&region);
	region = map_number("physical", 2, 1);
	write_pages(&region, 0x1);
	report(&region);

	region = map_number("replaced", 1, 3);
	region.offset = 2 * TEXT_OFFSET;
	write_pages(&region, 0x3);
	replace(region.address + 2 * PAGE, PAGE);
	region.pages = 2;
	report(&region);
	region = region_at("replaced-page", "none", "", region.address + 2 * PAGE, 1);
	report(&region);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	begin(argv[1]);
	if (!strcmp(argv[2], "devmem"))
		devmem();
	else if (!strcmp(argv[2], "pci"))
		pci();
	else
		uio();
	end(argv[1]);
}
