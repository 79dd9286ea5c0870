// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls on mappings of the device. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

struct map *some_map(struct state *s)
{
	unsigned int first = (unsigned int)below(s, MAPS_MAX), i;

	for (i = 0; i < MAPS_MAX; i++)
		if (s->map[(first + i) % MAPS_MAX].start)
			return &s->map[(first + i) % MAPS_MAX];
	errno = ENOENT;
	return NULL;
}

static void unmap(struct map *m)
{
	if (m->start)
		munmap(m->start, m->length);
	m->start = NULL;
}

/* A place for a new mapping: an empty one, or one whose mapping goes. */
struct map *free_map(struct state *s)
{
	unsigned int i;
	struct map *m;

	for (i = 0; i < MAPS_MAX; i++)
		if (!s->map[i].start)
			return &s->map[i];
	m = &s->map[below(s, MAPS_MAX)];
	unmap(m);
	return m;
}

void let_go(struct state *s)
{
	unsigned int i;

	for (i = 0; i < MAPS_MAX; i++)
		unmap(&s->map[i]);
	for (i = 0; i < FILES_MAX; i++) {
		if (s->file[i] >= 0)
			close(s->file[i]);
		s->file[i] = -1;
	}
}

bool touch(volatile char *at, bool write, char value)
{
	sigjmp_buf here, *outer = fault_return;
	char seen;

	if (sigsetjmp(here, 1)) {
		fault_return = outer;
		return false;
	}
	fault_return = &here;
	if (write) {
		*at = value;
	} else {
		seen = *at;
		(void)seen;
	}
	fault_return = outer;
	return true;
}

static int some_protection(struct state *s)
{
	static const int often[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_WRITE };

	if (chance(s, 8))
		return (int)(below(s, 16) | (chance(s, 4) ? PROT_GROWSDOWN : 0));
	return often[below(s, 4)];
}

static size_t some_length(struct state *s)
{
	if (chance(s, 8))
		return odd_number(s);
	return (1 + below(s, 3)) * PAGE - (chance(s, 8) ? below(s, PAGE) : 0);
}

static int make_mmap(struct state *s)
{
	static const int rare[] = { MAP_POPULATE, MAP_LOCKED, MAP_NORESERVE, MAP_NONBLOCK | MAP_POPULATE,
				    MAP_32BIT, MAP_SYNC, MAP_GROWSDOWN, MAP_HUGETLB };
	int flags = chance(s, 8) ? MAP_PRIVATE : chance(s, 4) ? MAP_SHARED_VALIDATE : MAP_SHARED;
	int protection = some_protection(s);
	struct map *m = free_map(s);
	uint64_t offset = chance(s, 4) ? below(s, 4) * PAGE : 0;
	size_t length = some_length(s);
	char *start;

	if (chance(s, 4))
		flags |= rare[below(s, sizeof(rare) / sizeof(rare[0]))];
	if (chance(s, 16))
		offset = odd_number(s);
	start = mmap(chance(s, 32) ? (void *)odd_number(s) : NULL, length, protection, flags,
		     some_file(s), (off_t)offset);
	if (start == MAP_FAILED)
		return -1;
	m->start = start;
	m->length = (length + PAGE - 1) & -PAGE;
	return 0;
}

/* Unmaps a part; what is behind it becomes a mapping of its own. */
static int unmap_part(struct state *s, struct map *m, size_t from, size_t length)
{
	char *end = m->start + m->length, *behind = m->start + from + length;
	struct map *rest;

	if (munmap(m->start + from, length))
		return -1;
	m->length = from;
	if (!from)
		m->start = NULL;
	if (behind < end) {
		rest = free_map(s);
		rest->start = behind;
		rest->length = (size_t)(end - behind);
	}
	return 0;
}

static int make_munmap(struct state *s)
{
	struct map *m = some_map(s);
	size_t from;

	if (!m)
		return -1;
	if (chance(s, 2)) {
		unmap(m);
		return 0;
	}
	from = below(s, m->length / PAGE) * PAGE;
	return unmap_part(s, m, from, PAGE);
}

static int make_mremap(struct state *s)
{
	static const int often[] = { 0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP };
	struct map *m = some_map(s), *to;
	int flags = chance(s, 16) ? (int)below(s, 2) : often[below(s, 3)];
	size_t old_length, length;
	char *start;

	if (!m)
		return -1;
	old_length = chance(s, 8) ? 0 : chance(s, 4) ? PAGE : m->length;
	length = chance(s, 4) ? m->length : some_length(s) % (1UL << 30);
	start = mremap(m->start, old_length, length, flags);
	if (start == MAP_FAILED)
		return -1;
	length = (length + PAGE - 1) & -PAGE;
	if (start == m->start) {
		if (old_length == m->length || length > m->length)
			m->length = length;
		return 0;
	}
	if (old_length && !(flags & MREMAP_DONTUNMAP)) {
		m->start += old_length;
		m->length -= old_length;
		if (!m->length)
			m->start = NULL;
	}
	to = free_map(s);
	to->start = start;
	to->length = length;
	return 0;
}

static int make_mprotect(struct state *s)
{
	struct map *m = some_map(s);
	size_t from;

	if (!m)
		return -1;
	from = below(s, m->length / PAGE) * PAGE;
	return mprotect(m->start + from, chance(s, 2) ? PAGE : m->length - from,
			some_protection(s));
}

static int make_madvise(struct state *s)
{
	/* Up to MADV_COLLAPSE; 100 and 101 would poison the module's frames for good. */
	int advice = chance(s, 16) ? (int)(below(s, 1U << 30) + 102) : (int)below(s, 26);
	struct map *m = some_map(s);
	size_t from;

	if (!m)
		return -1;
	from = below(s, m->length / PAGE) * PAGE;
	return madvise(m->start + from, chance(s, 2) ? PAGE : m->length - from, advice);
}

static int make_touch(struct state *s)
{
	struct map *m = some_map(s);

	if (!m)
		return -1;
	return touch(m->start + below(s, m->length), chance(s, 2), (char)draw(s)) ? 0 : -1;
}

static int make_lock(struct state *s)
{
	static unsigned char resident[1 << 10];
	struct map *m = some_map(s);
	size_t length;

	if (!m)
		return -1;
	length = m->length < PAGE * sizeof(resident) ? m->length : PAGE;
	switch (below(s, 8)) {
	case 0:
		return mlock(m->start, length);
	case 1:
		return munlock(m->start, length);
	case 2:
		return msync(m->start, length, (int)below(s, 8));
	case 3:
		return mincore(m->start, length, resident);
	case 4:
		return (int)syscall(SYS_mlock2, m->start, length, below(s, 2));
	case 5:
		return (int)syscall(SYS_mbind, m->start, length, below(s, 5), NULL, 0,
				    below(s, 8));
	case 6:
		return (int)syscall(SYS_remap_file_pages, m->start, PAGE, 0, below(s, 4), 0);
	default:
		return (int)syscall(SYS_pkey_mprotect, m->start, length, some_protection(s), -1);
	}
}

/* Users of get_user_pages(). */
static int make_pin(struct state *s)
{
	struct timespec soon = { .tv_nsec = 1000000 };
	struct map *m = some_map(s);
	struct iovec ours, theirs;
	int status, node = 0;
	char text[256];
	void *pages;
	int pipes[2];
	ssize_t got;

	if (!m)
		return -1;
	switch (below(s, 5)) {
	case 0:
		ours = (struct iovec){ text, sizeof(text) };
		theirs = (struct iovec){ m->start, sizeof(text) };
		got = chance(s, 2) ? process_vm_readv(getpid(), &ours, 1, &theirs, 1, 0) :
				     process_vm_writev(getpid(), &ours, 1, &theirs, 1, 0);
		return got < 0 ? -1 : 0;
	case 1:
		return (int)syscall(SYS_futex, m->start, FUTEX_WAIT, draw(s), &soon, NULL, 0);
	case 2:
		return (int)syscall(SYS_futex, m->start, FUTEX_WAKE, 1, NULL, NULL, 0);
	case 3:
		pages = m->start;
		return (int)syscall(SYS_move_pages, 0, 1UL, &pages, &node, &status, 2);
	default:
		if (pipe(pipes))
			return -1;
		ours = (struct iovec){ m->start, PAGE };
		got = vmsplice(pipes[1], &ours, 1, SPLICE_F_NONBLOCK);
		if (got > 0 && chance(s, 2))
			unmap(m);	/* while the pipe holds its pages */
		if (got > 0 && read(pipes[0], text, sizeof(text)) < 0)
			got = -1;
		close(pipes[0]);
		close(pipes[1]);
		return got < 0 ? -1 : 0;
	}
}

static int make_fork(struct state *s)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		struct map *m = some_map(s);

		/* Mappings of the region are not inherited; others are. */
		if (m) {
			touch(m->start, chance(s, 2), 1);
			if (chance(s, 2))
				munmap(m->start, m->length);
		}
		if (chance(s, 2))
			let_go(s);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid ? 0 : -1;
}

struct thread_work {
	char *at;
	uint64_t random;
};

static void *thread_touches(void *data)
{
	struct thread_work *w = data;
	struct state mine = { .random = w->random };
	int i;

	for (i = 0; i < 16; i++)
		touch(w->at, chance(&mine, 2), (char)i);
	return NULL;
}

/* A thread touches a mapping while this one changes it. */
static int make_thread(struct state *s)
{
	struct map *m = some_map(s);
	struct thread_work w;
	pthread_attr_t small;
	pthread_t thread;
	bool from_map = false;
	int err = 0;

	if (!m)
		return -1;
	w = (struct thread_work){ m->start + below(s, m->length / PAGE) * PAGE, draw(s) };
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	if (pthread_create(&thread, &small, thread_touches, &w))
		return -1;
	switch (below(s, 3)) {
	case 0:
		err = madvise(w.at, PAGE, MADV_DONTNEED);
		break;
	case 1:
		err = mprotect(w.at, PAGE, some_protection(s));
		break;
	default:
		err = munmap(w.at, PAGE);
		from_map = !err;
	}
	pthread_join(thread, NULL);
	/* Not before: a new mapping could take the place while the thread writes to it. */
	if (from_map)
		unmap_part(s, m, (size_t)(w.at - m->start), PAGE);
	return err;
}

const struct call memory_calls[] = {
	{ "mmap", make_mmap, 30 },
	{ "munmap", make_munmap, 12 },
	{ "mremap", make_mremap, 12 },
	{ "mprotect", make_mprotect, 12 },
	{ "madvise", make_madvise, 16 },
	{ "touch", make_touch, 24 },
	{ "lock", make_lock, 10 },
	{ "pin", make_pin, 8 },
	{ "fork", make_fork, 2 },
	{ "thread", make_thread, 3 },
	{ 0 }
};
