// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps each bug of shares_bugs.ko and its sound twin, each in its own process, touches the mapping,
 * triggers the bug, and sleeps.
 *
 *   shares_bugs OUTPUT
 *
 * Needs shares_bugs.ko, shares_bugs_gone.ko and shares_other.ko, and unloads shares_bugs_gone.ko. The
 * facts in OUTPUT come from the kernel: page-table entries from its own walk, and procfs for the
 * mapping and the frames.
 *
 * The guest cannot be used for anything else afterwards: the kernel oopses when the process with
 * operations of the unloaded module ends or when its maps are read.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bugs/shares_bugs_abi.h"
#include "shares_maps.h"

#define FRAME(entry) ((entry) >> 12 & 0xffffffffffULL)
#define PRESENT 1ULL
#define TRIES 100
#define CACHED_STACKS 4
#define TAKEN 64	/* pages, enough to get one that was just freed */
#define GONE "shares_bugs_gone"

/* Arguments of mmap(). */
struct asked {
	size_t pages;
	size_t first;
	int prot;
	int flags;
};

struct trial {
	const char *name;
	enum shares_bugs_number number;
	struct asked asked;
	struct asked sane;		/* for the twin, which refuses that; pages 0: same */
	enum shares_bugs_device device;
	size_t grown;			/* pages, by mremap() */
	uint64_t written;		/* pages */
	bool untouched;			/* mmap() maps everything; a touch would raise a signal */
	bool (*take)(uint64_t frame);	/* makes something reuse the freed memory */
	const char *other;		/* a device whose frame the bug maps */
};

/* Final facts of a case. */
struct result {
	struct region region;
	struct shares_bugs_facts facts;
	char vm_flags[256];
	pid_t child;
};

static const char *const devices[] = {
	[SHARES_BUGS_PLAIN] = "/dev/shares_bugs",
	[SHARES_BUGS_READ_ONLY] = "/dev/shares_bugs_read_only",
	[SHARES_BUGS_NO_CHILD] = "/dev/shares_bugs_no_child",
	[SHARES_BUGS_NO_EXEC] = "/dev/shares_bugs_no_exec",
};

static int pagemap, page_flags, page_counts;
static int asking;	/* the case's own file, for take() */
static pid_t cached[CACHED_STACKS];

/* Each process must open the file itself. */
static void open_pagemap(void)
{
	pagemap = checked_fd(open("/proc/self/pagemap", O_RDONLY), "/proc/self/pagemap");
}

/* Reads the number at an index of a procfs file of 64-bit numbers; 0 past its end. */
static uint64_t number_in(int fd, uint64_t index)
{
	uint64_t value = 0;

	if (pread(fd, &value, sizeof(value), (off_t)(index * sizeof(value))) < 0)
		die("a file of numbers");
	return value;
}

static uint64_t mapped_frame(const void *address)
{
	uint64_t entry = number_in(pagemap, (uintptr_t)address / PAGE);

	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

/* Touches pages until one of them is that frame. */
static bool take(int fd, int flags, uint64_t frame)
{
	char *some = checked(mmap(NULL, TAKEN * PAGE, READ_WRITE, flags, fd, 0), "memory to take");

	/* A huge page would be all pages at once. EINVAL: the kernel has no huge pages. */
	if (madvise(some, TAKEN * PAGE, MADV_NOHUGEPAGE) && errno != EINVAL)
		die("MADV_NOHUGEPAGE");
	for (size_t page = 0; page < TAKEN; page++) {
		snprintf(some + page * PAGE, PAGE, "pageproof taken %zu", page);
		if (mapped_frame(some + page * PAGE) == frame)
			return true;
	}
	munmap(some, TAKEN * PAGE);
	return false;
}

static bool take_anonymous(uint64_t frame)
{
	return take(-1, PRIVATE, frame);
}

static bool take_cache(uint64_t frame)
{
	int fd = checked_fd(open("/run/taken", O_RDWR | O_CREAT | O_TRUNC, 0600), "/run/taken");
	bool taken;

	if (ftruncate(fd, TAKEN * PAGE))
		die("ftruncate");
	taken = take(fd, MAP_SHARED, frame);
	close(fd);
	return taken;
}

static pid_t staying_child(void)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (!child)
		stay();
	return child;
}

static void end_children(const pid_t *children, int count)
{
	for (int i = 0; i < count; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
}

/*
 * Each CPU caches two stacks of dead tasks (NR_CACHED_STACKS of kernel/fork.c). While the cache has
 * some, a new task uses freed memory for its page tables and not for its stack.
 */
static void use_up_stacks(void)
{
	for (size_t i = 0; i < CACHED_STACKS; i++)
		cached[i] = staying_child();
}

/* Forks until a child has the frame in its kernel stack. That child stays. */
static bool take_stack(uint64_t frame)
{
	pid_t children[TAKEN];
	int count = 0, found = 0;

	while (!found && count < TAKEN) {
		struct shares_bugs_stack stack = { .frame = frame };

		stack.pid = children[count++] = staying_child();
		found = ioctl(asking, SHARES_BUGS_HAS_STACK, &stack);
		if (found < 0)
			die("SHARES_BUGS_HAS_STACK");
	}
	end_children(children, count - found);
	end_children(cached, CACHED_STACKS);
	return found;
}

/* The frame of a page of another driver, which stays mapped. */
static uint64_t frame_of(const char *device)
{
	int fd = checked_fd(open(device, O_RDWR), device);
	char *page = checked(mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0), device);

	snprintf(page, PAGE, "pageproof other");
	return mapped_frame(page);
}

#define SHARED(count, from, rights) { count, from, rights, MAP_SHARED }
#define WHOLE SHARED(SHARES_BUGS_REGION, 0, READ_WRITE)
#define READABLE SHARED(SHARES_BUGS_REGION, 0, PROT_READ)
#define COPIED { SHARES_BUGS_REGION, 0, READ_WRITE, MAP_PRIVATE }
#define ONE SHARED(1, 0, READ_WRITE)
#define TRIAL(text, which, how, ...) \
	{ .name = (text), .number = (which), .asked = how, ##__VA_ARGS__ }

static const struct trial trials[] = {
	TRIAL("wrong-frame", SHARES_BUGS_WRONG_FRAME, WHOLE),
	TRIAL("wrong-order", SHARES_BUGS_WRONG_ORDER, WHOLE),
	TRIAL("off-by-one", SHARES_BUGS_OFF_BY_ONE, WHOLE),
	TRIAL("taken-for-contiguous", SHARES_BUGS_CONTIGUOUS, WHOLE),
	TRIAL("length-unchecked", SHARES_BUGS_LENGTH, SHARED(6, 0, READ_WRITE), .sane = WHOLE),
	TRIAL("offset-unchecked", SHARES_BUGS_OFFSET, SHARED(4, 2, READ_WRITE),
	      .sane = SHARED(2, 2, READ_WRITE)),
	TRIAL("grown", SHARES_BUGS_GROWN, WHOLE, .grown = 6),
	TRIAL("partial", SHARES_BUGS_PARTIAL, WHOLE, .untouched = true),
	TRIAL("private-copy", SHARES_BUGS_PRIVATE, COPIED, .sane = WHOLE, .written = 0x2),
	TRIAL("zero-page", SHARES_BUGS_ZERO_PAGE, WHOLE),
	TRIAL("freed", SHARES_BUGS_FREED, WHOLE),
	TRIAL("freed-to-slab", SHARES_BUGS_FREED_SLAB, ONE),
	TRIAL("freed-to-anonymous", SHARES_BUGS_FREED_ANON, ONE, .take = take_anonymous),
	TRIAL("freed-to-cache", SHARES_BUGS_FREED_CACHE, ONE, .take = take_cache),
	TRIAL("poisoned", SHARES_BUGS_POISONED, WHOLE),
	TRIAL("reference-dropped", SHARES_BUGS_REFERENCE, WHOLE),
	TRIAL("tails-not-held", SHARES_BUGS_TAILS, WHOLE),
	TRIAL("mapcount-lost", SHARES_BUGS_MAPCOUNT, WHOLE),
	TRIAL("object-freed", SHARES_BUGS_OBJECT_FREED, ONE),
	TRIAL("sub-page", SHARES_BUGS_SUB_PAGE, ONE),
	TRIAL("writable", SHARES_BUGS_WRITABLE, WHOLE, .sane = READABLE,
	      .device = SHARES_BUGS_READ_ONLY),
	TRIAL("may-write", SHARES_BUGS_MAY_WRITE, READABLE, .device = SHARES_BUGS_READ_ONLY),
	TRIAL("executable", SHARES_BUGS_EXECUTABLE,
	      SHARED(SHARES_BUGS_REGION, 0, READ_WRITE | PROT_EXEC), .sane = WHOLE),
	TRIAL("may-execute", SHARES_BUGS_MAY_EXECUTE, WHOLE, .device = SHARES_BUGS_NO_EXEC),
	TRIAL("kernel-reads", SHARES_BUGS_KERNEL_READS, WHOLE, .sane = READABLE),
	TRIAL("kernel-executes", SHARES_BUGS_KERNEL_EXECUTES, ONE,
	      .sane = SHARED(1, 0, PROT_READ)),
	TRIAL("kernel-open", SHARES_BUGS_KERNEL_OPEN, WHOLE),
	TRIAL("user-closed", SHARES_BUGS_USER_CLOSED, WHOLE, .untouched = true),
	TRIAL("uncached", SHARES_BUGS_UNCACHED, WHOLE),
	TRIAL("write-combining", SHARES_BUGS_COMBINING, WHOLE),
	TRIAL("physmap-uncached", SHARES_BUGS_PHYSMAP, WHOLE),
	TRIAL("raw-frame", SHARES_BUGS_RAW_FRAME, WHOLE),
	TRIAL("pfnmap-by-hand", SHARES_BUGS_BY_HAND, WHOLE),
	TRIAL("beyond-object", SHARES_BUGS_BEYOND_OBJECT, WHOLE),
	/* A guard page has no frame: a touch would raise a signal. */
	TRIAL("beyond-area", SHARES_BUGS_BEYOND_AREA, WHOLE, .untouched = true),
	TRIAL("region-freed", SHARES_BUGS_REGION_FREED, WHOLE),
	TRIAL("inherited", SHARES_BUGS_INHERITED, WHOLE, .device = SHARES_BUGS_NO_CHILD),
	TRIAL("may-inherit", SHARES_BUGS_MAY_INHERIT, WHOLE, .device = SHARES_BUGS_NO_CHILD),
	TRIAL("freed-listed", SHARES_BUGS_FREED_LISTED, ONE),
	TRIAL("freed-to-stack", SHARES_BUGS_FREED_STACK, ONE, .take = take_stack),
	TRIAL("kernel-stack", SHARES_BUGS_STACK, WHOLE),
	TRIAL("others-page", SHARES_BUGS_OTHERS, ONE, .other = "/dev/shares_other"),
	TRIAL("operations-gone", SHARES_BUGS_OPERATIONS, WHOLE),
};

static char *ask(int fd, const struct asked *asked)
{
	return mmap(NULL, asked->pages * PAGE, asked->prot, asked->flags, fd,
		    (off_t)(asked->first * PAGE));
}

static void flags_of(const char *address, char *ret, size_t size)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	char line[1024], head[32];
	bool here = false;

	if (!file)
		die("/proc/self/smaps");
	snprintf(head, sizeof(head), "%" PRIxPTR "-", (uintptr_t)address);
	while (fgets(line, sizeof(line), file)) {
		here |= !strncmp(line, head, strlen(head));
		if (here && !strncmp(line, "VmFlags: ", 9)) {
			snprintf(ret, size, "%.*s", (int)strcspn(line + 9, "\n"), line + 9);
			break;
		}
	}
	fclose(file);
}

static void tell(int fd, struct result *result)
{
	result->facts.address = (uintptr_t)result->region.address;
	result->facts.pages = result->region.pages;
	if (ioctl(fd, SHARES_BUGS_TELL, &result->facts))
		die("SHARES_BUGS_TELL");
}

static void map_case(int fd, const struct trial *trial, struct result *ret)
{
	const struct asked *asked = &trial->asked;
	struct region *region = &ret->region;
	char *address = ask(fd, asked), *moved;

	if (address == MAP_FAILED && trial->sane.pages) {
		asked = &trial->sane;
		address = ask(fd, asked);
	}
	*region = region_at(trial->name, devices[trial->device], "", checked(address, trial->name),
			    asked->pages);
	region->first_page = asked->first;
	if (trial->grown) {
		moved = mremap(address, region->pages * PAGE, trial->grown * PAGE, MREMAP_MAYMOVE);
		if (moved != MAP_FAILED) {
			region->address = moved;
			region->pages = trial->grown;
		}
	}
	if (!trial->untouched)
		for (size_t page = 0; page < region->pages; page++)
			*(volatile char *)(region->address + page * PAGE);
	write_pages(region, trial->written);
}

/* One attempt at a case. Returns 0 or an errno. */
static int attempt(const struct trial *trial, bool sound, struct result *ret)
{
	struct shares_bugs_choice choice = { .number = trial->number, .sound = sound };
	int fd = checked_fd(open(devices[trial->device], O_RDWR), devices[trial->device]);
	int err = 0;

	memset(ret, 0, sizeof(*ret));
	asking = fd;
	if (trial->other && !sound)
		choice.frame = frame_of(trial->other);
	if (ioctl(fd, SHARES_BUGS_CHOOSE, &choice))
		die("SHARES_BUGS_CHOOSE");
	map_case(fd, trial, ret);
	flags_of(ret->region.address, ret->vm_flags, sizeof(ret->vm_flags));
	tell(fd, ret);
	if (trial->take == take_stack && !sound)
		use_up_stacks();
	if (ioctl(fd, SHARES_BUGS_SPOIL))
		err = errno;
	else if (trial->take && !sound && !trial->take(ret->facts.region_pfn[0]))
		err = EAGAIN;
	if (err)
		munmap(ret->region.address, ret->region.pages * PAGE);
	else
		tell(fd, ret);
	close(fd);
	return err;
}

static void put_numbers(const char *name, const uint64_t *numbers, size_t count)
{
	fprintf(out, ", \"%s\": [", name);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s%" PRIu64, i ? ", " : "", numbers[i]);
	fputs("]", out);
}

static void put_case(const struct trial *trial, bool sound, const struct result *result)
{
	const struct shares_bugs_facts *facts = &result->facts;
	const struct region *region = &result->region;
	uint64_t numbers[4][SHARES_BUGS_PAGES] = { 0 };

	fprintf(out, "%s\n{\"name\": \"%s\", \"sound\": %s, \"pid\": %d, \"child\": %d",
		listed ? "," : "", trial->name, sound ? "true" : "false", getpid(), result->child);
	fprintf(out, ", \"device\": \"%s\", \"address\": %" PRIuPTR ", \"pages\": %zu",
		region->kind, (uintptr_t)region->address, region->pages);
	fprintf(out, ", \"first_page\": %zu, \"vm_flags\": \"%s\"", region->first_page,
		result->vm_flags);
	fprintf(out, ", \"at\": %" PRIu64 ", \"kernel\": %" PRIu64, (uint64_t)facts->at,
		(uint64_t)facts->kernel);
	for (size_t page = 0; page < region->pages; page++) {
		uint64_t frame = FRAME(facts->user_entry[page]);

		if (!(facts->user_entry[page] & PRESENT))
			continue;
		numbers[0][page] = mapped_frame(region->address + page * PAGE);
		numbers[1][page] = number_in(page_flags, frame);
		numbers[2][page] = number_in(page_counts, frame);
	}
	put_numbers("pagemap", numbers[0], region->pages);
	put_numbers("page_flags", numbers[1], region->pages);
	put_numbers("page_counts", numbers[2], region->pages);
	put_numbers("user_entries", (const uint64_t *)facts->user_entry, region->pages);
	put_numbers("kernel_entries", (const uint64_t *)facts->kernel_entry, SHARES_BUGS_REGION);
	put_numbers("physmap_entries", (const uint64_t *)facts->physmap_entry, SHARES_BUGS_REGION);
	put_numbers("region_pfns", (const uint64_t *)facts->region_pfn, SHARES_BUGS_REGION);
	for (size_t page = 0; page < SHARES_BUGS_REGION; page++)
		numbers[3][page] = facts->kernel_level[page];
	put_numbers("kernel_levels", numbers[3], SHARES_BUGS_REGION);
	fputs("}", out);
	listed = true;
}

static void put_refused(const struct trial *trial, int err)
{
	fprintf(out, "%s\n{\"name\": \"%s\", \"sound\": false, \"refused\": \"%s\"}",
		listed ? "," : "", trial->name, strerror(err));
	listed = true;
}

static bool make(const struct trial *trial, bool sound, struct result *ret)
{
	int err = EAGAIN;

	for (int tries = 0; err == EAGAIN && tries < TRIES; tries++)
		err = attempt(trial, sound, ret);
	if (err == EOPNOTSUPP)
		put_refused(trial, err);
	else if (err)
		errno = err, die(trial->name);
	return !err;
}

/* The case of the next child. */
static const struct trial *todo;
static bool todo_sound;

static void do_case(void)
{
	struct result result;

	open_pagemap();
	if (!make(todo, todo_sound, &result))
		return;
	fflush(out);	/* so that a child does not write it again */
	if (todo->number == SHARES_BUGS_INHERITED) {
		result.child = fork();
		if (result.child < 0)
			die("fork");
		if (!result.child)
			stay();
	}
	put_case(todo, todo_sound, &result);
	if (todo->number == SHARES_BUGS_OPERATIONS && !todo_sound &&
	    syscall(SYS_delete_module, GONE, O_NONBLOCK))
		die(GONE);
}

/* A page of the process that a driver has pinned and mapped. Nothing is wrong with it. */
static void do_own(void)
{
	int fd = checked_fd(open(devices[SHARES_BUGS_PLAIN], O_RDWR), devices[SHARES_BUGS_PLAIN]);
	char *page = checked(mmap(NULL, PAGE, READ_WRITE, PRIVATE, -1, 0), "memory to pin");
	uint64_t kernel = (uintptr_t)page;

	open_pagemap();
	snprintf(page, PAGE, "pageproof own");
	if (ioctl(fd, SHARES_BUGS_PIN, &kernel))
		die("SHARES_BUGS_PIN");
	fprintf(out, "%s\n{\"own\": true, \"pid\": %d, \"address\": %" PRIuPTR, listed ? "," : "",
		getpid(), (uintptr_t)page);
	fprintf(out, ", \"kernel\": %" PRIu64 ", \"pfn\": %" PRIu64 "}", kernel, mapped_frame(page));
	listed = true;
}

/* A CPU reuses first what it freed last, so run everything on one CPU. */
static void use_one_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		die("sched_setaffinity");
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	use_one_cpu();
	page_flags = checked_fd(open("/proc/kpageflags", O_RDONLY), "/proc/kpageflags");
	page_counts = checked_fd(open("/proc/kpagecount", O_RDONLY), "/proc/kpagecount");
	begin(argv[1]);
	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
		todo = &trials[i];
		todo_sound = true;
		in_child(do_case);
		todo_sound = false;
		in_child(do_case);
	}
	in_child(do_own);
	end(argv[1]);
}
