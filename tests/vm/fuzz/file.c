// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls on open files of the device. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "umh_shm_abi.h"

#define DEVICE	"/dev/" UMH_SHM_DEVICE

void pause_ms(unsigned int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

int alarm_in(unsigned int ms)
{
	/* Again and again: the first may come before the call sleeps. */
	struct itimerval timer = {
		.it_value = { .tv_usec = (suseconds_t)ms * 1000 },
		.it_interval = { .tv_usec = (suseconds_t)ms * 1000 },
	};

	return setitimer(ITIMER_REAL, &timer, NULL);
}

static int *free_file(struct state *s)
{
	unsigned int i;
	int *file;

	for (i = 0; i < FILES_MAX; i++)
		if (s->file[i] < 0)
			return &s->file[i];
	file = &s->file[below(s, FILES_MAX)];
	close(*file);
	*file = -1;
	return file;
}

static int open_device(struct state *s)
{
	static const int rare[] = { O_APPEND, O_DIRECT, O_PATH, O_TRUNC, O_CREAT, O_SYNC, O_ASYNC,
				    O_DIRECTORY, O_NOFOLLOW, O_EXCL | O_CREAT };
	int flags = chance(s, 4) ? (int)below(s, 4) : O_RDWR, fd;

	if (chance(s, 2))
		flags |= O_NONBLOCK;
	if (chance(s, 8))
		flags |= rare[below(s, sizeof(rare) / sizeof(rare[0]))];
	/* A regular file must not take the place of the node while the module is not loaded. */
	if (flags & O_CREAT && access(DEVICE, F_OK))
		flags &= ~O_CREAT;
	fd = open(DEVICE, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	*free_file(s) = fd;
	return 0;
}

int some_file(struct state *s)
{
	unsigned int first = (unsigned int)below(s, FILES_MAX), i;

	for (i = 0; i < FILES_MAX; i++)
		if (s->file[(first + i) % FILES_MAX] >= 0)
			return s->file[(first + i) % FILES_MAX];
	if (open_device(s))
		return -1;
	return some_file(s);
}

static int close_file(struct state *s)
{
	int *file = &s->file[below(s, FILES_MAX)], fd = *file;

	*file = -1;
	return close(fd);
}

static int copy_file(struct state *s)
{
	int fd = some_file(s), copy;

	switch (below(s, 6)) {
	case 0:
		return fcntl(fd, F_SETFL, chance(s, 2) ? O_NONBLOCK : 0);
	case 1:
		return fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK);
	case 2:
		return fcntl(fd, (int)below(s, 20), below(s, 4) ? below(s, 8) : odd_number(s));
	default:
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return -1;
		*free_file(s) = copy;
		return 0;
	}
}

void *some_buffer(struct state *s, size_t length)
{
	static uint32_t good[4096];
	struct map *m;
	size_t i;

	switch (below(s, 16)) {
	case 0:
		return (void *)odd_number(s);
	case 1:
		return (void *)"not writable";
	case 2:
		m = some_map(s);
		return m ? m->start + below(s, m->length) : NULL;
	default:
		for (i = 0; i < length / sizeof(good[0]) && i < 4096; i++)
			good[i] = chance(s, 8) ? (uint32_t)odd_number(s) : (uint32_t)below(s, 6);
		return good;
	}
}

static size_t some_count(struct state *s)
{
	if (chance(s, 8))
		return odd_number(s);
	return chance(s, 4) ? below(s, 100) : 4 * (1 + below(s, 20));
}

static int make_read(struct state *s)
{
	int fd = some_file(s);
	size_t count = some_count(s);
	void *buffer = some_buffer(s, count < 4096 ? count : 4096);
	struct iovec pieces[2];
	ssize_t got;

	/* It blocks unless the file is O_NONBLOCK. */
	alarm_in(5);
	switch (below(s, 4)) {
	case 0:
		got = pread(fd, buffer, count, (off_t)odd_number(s));
		break;
	case 1:
		pieces[0] = (struct iovec){ buffer, count % 16 };
		pieces[1] = (struct iovec){ buffer, 4 };
		got = readv(fd, pieces, 2);
		break;
	default:
		got = read(fd, buffer, count);
	}
	alarm_in(0);
	return got < 0 ? -1 : 0;
}

static int make_write(struct state *s)
{
	int fd = some_file(s);
	size_t count = some_count(s);
	const void *buffer = some_buffer(s, count < 4096 ? count : 4096);
	ssize_t put = chance(s, 4) ? pwrite(fd, buffer, count, (off_t)odd_number(s)) :
				     write(fd, buffer, count);

	return put < 0 ? -1 : 0;
}

static int make_splice(struct state *s)
{
	int fd = some_file(s), pipes[2];
	ssize_t moved = -1;

	if (pipe2(pipes, O_NONBLOCK | O_CLOEXEC))
		return -1;
	alarm_in(5);
	switch (below(s, 4)) {
	case 0:
		moved = splice(fd, NULL, pipes[1], NULL, below(s, 256), SPLICE_F_NONBLOCK);
		break;
	case 1:
		if (write(pipes[1], some_buffer(s, 64), 64) < 0)
			break;
		moved = splice(pipes[0], NULL, fd, NULL, 64, SPLICE_F_NONBLOCK);
		break;
	case 2:
		moved = sendfile(pipes[1], fd, NULL, below(s, 256));
		break;
	default:
		moved = copy_file_range(fd, NULL, some_file(s), NULL, below(s, 256), 0);
	}
	alarm_in(0);
	close(pipes[0]);
	close(pipes[1]);
	return moved < 0 ? -1 : 0;
}

static int make_ioctl(struct state *s)
{
	static const unsigned long known[] = { FIONREAD, FIOASYNC, FIONBIO, FIOQSIZE, FIOCLEX,
					       FIGETBSZ, FIBMAP, TCGETS };
	unsigned long request = chance(s, 2) ? known[below(s, sizeof(known) / sizeof(known[0]))] :
					       odd_number(s);

	return ioctl(some_file(s), request, some_buffer(s, 256));
}

static int make_poll(struct state *s)
{
	struct pollfd one = { .fd = some_file(s), .events = (short)draw(s) };
	struct epoll_event event = { .events = (uint32_t)(chance(s, 2) ? draw(s) : EPOLLIN) };
	struct timeval soon = { .tv_usec = 1000 };
	int fd, err;
	fd_set set;

	switch (below(s, 3)) {
	case 0:
		return poll(&one, 1, (int)below(s, 3)) < 0 ? -1 : 0;
	case 1:
		if (one.fd < 0 || one.fd >= FD_SETSIZE)
			return -1;
		FD_ZERO(&set);
		FD_SET(one.fd, &set);
		return select(one.fd + 1, &set, NULL, NULL, &soon) < 0 ? -1 : 0;
	default:
		fd = epoll_create1(EPOLL_CLOEXEC);
		err = epoll_ctl(fd, EPOLL_CTL_ADD, one.fd, &event);
		if (!err)
			err = epoll_wait(fd, &event, 1, (int)below(s, 3)) < 0 ? -1 : 0;
		close(fd);
		return err;
	}
}

static int make_seek(struct state *s)
{
	struct stat there;
	int fd = some_file(s);

	switch (below(s, 5)) {
	case 0:
		return fstat(fd, &there);
	case 1:
		return fsync(fd);
	case 2:
		return ftruncate(fd, (off_t)odd_number(s));
	case 3:
		return posix_fadvise(fd, 0, (off_t)odd_number(s), (int)below(s, 7));
	default:
		return lseek(fd, (off_t)odd_number(s), (int)below(s, 6)) < 0 ? -1 : 0;
	}
}

/* Writes into a slot, as a helper with a fault in it would. */
static int make_answer(struct state *s)
{
	struct map *m = some_map(s);
	struct umh_shm_slot *slot;
	uint32_t index;
	sigjmp_buf here;

	if (!m)
		return -1;
	index = (uint32_t)below(s, m->length / PAGE);
	slot = (struct umh_shm_slot *)(m->start + index * PAGE);
	if (sigsetjmp(here, 1)) {
		fault_return = NULL;
		errno = EFAULT;
		return -1;
	}
	fault_return = &here;
	switch (below(s, 4)) {
	case 0:
		memset((char *)slot + below(s, PAGE / 2), (int)draw(s), below(s, PAGE / 2));
		break;
	case 1:
		__atomic_store_n(&slot->state, (uint32_t)below(s, 5), __ATOMIC_RELEASE);
		break;
	default:
		slot->ack = slot->seq + (chance(s, 8) ? 1 : 0);
		slot->status = chance(s, 4) ? (int32_t)odd_number(s) : 0;
		slot->reply_len = (uint32_t)(chance(s, 4) ? odd_number(s) : below(s, 1025));
		__atomic_store_n(&slot->state, UMH_SHM_DONE, __ATOMIC_RELEASE);
	}
	fault_return = NULL;
	return write(some_file(s), &index, sizeof(index)) < 0 ? -1 : 0;
}

const struct call file_calls[] = {
	{ "open", open_device, 12 },
	{ "close", close_file, 8 },
	{ "fcntl", copy_file, 6 },
	{ "read", make_read, 10 },
	{ "write", make_write, 12 },
	{ "splice", make_splice, 4 },
	{ "ioctl", make_ioctl, 8 },
	{ "poll", make_poll, 10 },
	{ "seek", make_seek, 6 },
	{ "answer", make_answer, 10 },
	{ 0 }
};
