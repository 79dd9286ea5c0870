// SPDX-License-Identifier: GPL-2.0-or-later
/* The module's files in sysfs and debugfs, its helper, loading and unloading. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuzz.h"

#define SYSFS	"/sys/class/misc/umh_shm/"
#define DEBUGFS	"/sys/kernel/debug/umh_shm/"

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -1;
	err = write(fd, text, strlen(text)) < 0 ? -1 : 0;
	close(fd);
	return err;
}

static ssize_t get(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	text[0] = '\0';
	if (fd < 0)
		return -1;
	got = read(fd, text, size - 1);
	close(fd);
	if (got >= 0)
		text[got] = '\0';
	return got;
}

static pid_t helper(void)
{
	char text[32];

	if (get(SYSFS "helper_pid", text, sizeof(text)) < 0)
		return 0;
	return (pid_t)strtol(text, NULL, 10);
}

static int read_attribute(struct state *s)
{
	static const char *const files[] = {
		SYSFS "state", SYSFS "helper_pid", SYSFS "restarts", SYSFS "length", SYSFS "backing",
		SYSFS "map", SYSFS "live_mappings", SYSFS "last_reply", SYSFS "stop", SYSFS "health",
		SYSFS "uevent", SYSFS "dev", "/sys/module/umh_shm/parameters/map",
		"/sys/module/umh_shm/refcnt", DEBUGFS "pfns",
	};
	char text[8192];

	return get(files[below(s, sizeof(files) / sizeof(files[0]))], text, sizeof(text)) < 0 ? -1 : 0;
}

static int write_attribute(struct state *s)
{
	static const char *const words[] = { "1", "0", "y", "n", "", "2", "-1", "on\n", "\377" };
	const char *word = words[below(s, sizeof(words) / sizeof(words[0]))];

	switch (below(s, 16)) {
	case 0:
	case 1:
		return put(SYSFS "stop", word);
	case 2:
		return put(SYSFS "state", word);
	case 3:
		return put(SYSFS "uevent", "add");
	case 4:
	case 5:
	case 6:
		return put(SYSFS "stop", "0");
	default:
		return put(SYSFS "health", chance(s, 4) ? word : "1");
	}
}

static int make_request(struct state *s)
{
	char payload[1100], answer[2048];
	size_t length = chance(s, 8) ? below(s, sizeof(payload)) : below(s, 64);
	int fd = open(DEBUGFS "request", O_RDWR | O_CLOEXEC), err;
	size_t i;

	if (fd < 0)
		return -1;
	for (i = 0; i < length; i++)
		payload[i] = (char)draw(s);
	if (chance(s, 8))
		err = write(fd, some_buffer(s, 64), chance(s, 2) ? 64 : odd_number(s)) < 0;
	else
		err = write(fd, payload, length) < 0;
	if (chance(s, 4))
		lseek(fd, (off_t)odd_number(s), SEEK_SET);
	if (read(fd, answer, below(s, sizeof(answer))) < 0)
		err = 1;
	close(fd);
	return err ? -1 : 0;
}

static int make_bench(struct state *s)
{
	char text[64];

	snprintf(text, sizeof(text), "%u %u %u", (unsigned int)below(s, 6),
		 (unsigned int)below(s, 5), (unsigned int)below(s, 1100));
	if (chance(s, 16))
		snprintf(text, sizeof(text), "%llu %lld", (unsigned long long)below(s, 3),
			 (long long)odd_number(s));
	return put(DEBUGFS "bench", text);
}

static int read_debugfs(struct state *s)
{
	static const char *const files[] = { DEBUGFS "pfns", DEBUGFS "request", DEBUGFS "bench" };
	int fd = open(files[below(s, 3)], (int)below(s, 3) | O_CLOEXEC);
	ssize_t got;
	size_t count = below(s, 4096);

	if (fd < 0)
		return -1;
	lseek(fd, (off_t)(chance(s, 2) ? below(s, 300) : odd_number(s)), SEEK_SET);
	got = read(fd, some_buffer(s, count), count);
	close(fd);
	return got < 0 ? -1 : 0;
}

static int signal_helper(struct state *s)
{
	static const int often[] = { SIGKILL, SIGKILL, SIGTERM, SIGSEGV, SIGHUP, SIGPIPE };
	pid_t pid = helper();
	int err;

	if (pid <= 1)
		return -1;
	if (!chance(s, 3))
		return kill(pid, often[below(s, sizeof(often) / sizeof(often[0]))]);
	err = kill(pid, SIGSTOP);
	pause_ms((unsigned int)below(s, 30));
	kill(pid, SIGCONT);
	return err;
}

static int freeze_helper(struct state *s)
{
	char path[128], text[16];
	pid_t pid = helper();
	int err;

	if (!options.freezer || pid <= 1) {
		errno = ENOENT;
		return -1;
	}
	snprintf(text, sizeof(text), "%d", pid);
	snprintf(path, sizeof(path), "%s/cgroup.procs", options.freezer);
	err = put(path, text);
	snprintf(path, sizeof(path), "%s/freezer.state", options.freezer);
	if (!err)
		err = put(path, "FROZEN");
	if (chance(s, 2))
		kill(pid, SIGKILL);
	pause_ms((unsigned int)below(s, 50));
	put(path, "THAWED");
	return err;
}

/* The helper as other programs see it. */
static int inspect_helper(struct state *s)
{
	static const char *const files[] = { "maps", "smaps", "pagemap", "mem", "stat", "wchan",
					     "numa_maps", "stack", "environ", "fdinfo/2" };
	pid_t pid = helper();
	char path[64], text[4096];
	struct iovec ours = { text, sizeof(text) }, theirs = { (void *)0x400000, sizeof(text) };
	int fd, copy;

	if (pid <= 1)
		return -1;
	switch (below(s, 4)) {
	case 0:
		return process_vm_readv(pid, &ours, 1, &theirs, 1, 0) < 0 ? -1 : 0;
	case 1:
		/* Its leash or its device: an open leash means that it is not gone yet. */
		fd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (fd < 0)
			return -1;
		copy = (int)syscall(SYS_pidfd_getfd, fd, (int)below(s, 6), 0);
		close(fd);
		if (copy < 0)
			return -1;
		pause_ms((unsigned int)below(s, 3));
		return close(copy);
	default:
		snprintf(path, sizeof(path), "/proc/%d/%s", pid,
			 files[below(s, sizeof(files) / sizeof(files[0]))]);
		return get(path, text, sizeof(text)) < 0 ? -1 : 0;
	}
}

static void some_parameters(struct state *s, char *text, size_t size)
{
	static const struct {
		const char *backing, *map;
		unsigned int pages;
	} pairs[] = {
		{ "kzalloc", "remap", 3 }, { "kzalloc", "fault", 2 }, { "pages", "remap", 5 },
		{ "pages", "fault", 1 }, { "pages", "insert", 4 }, { "vmalloc", "fault", 6 },
		{ "vmalloc", "insert", 3 }, { "vmalloc", "remap", 1 }, { "kzalloc", "insert", 1 },
		{ "none", "fault", 1 },
	};
	/* The last three are refused. */
	uint64_t at = below(s, chance(s, 8) ? 10 : 7);
	unsigned long length = pairs[at].pages * PAGE - below(s, PAGE);

	if (chance(s, 16))
		length = odd_number(s);
	snprintf(text, size, "backing=%s map=%s length=%lu allow_any=%d timeout_ms=%u restart_ms=%u "
		 "max_restarts=%u", pairs[at].backing, pairs[at].map, length, !chance(s, 8),
		 20 + (unsigned int)below(s, 200), 1 + (unsigned int)below(s, 3),
		 chance(s, 8) ? 2 : 1000000);
}

static int insert(struct state *s)
{
	char parameters[256];
	int fd, err;

	if (!options.module) {
		errno = ENOENT;
		return -1;
	}
	fd = open(options.module, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	some_parameters(s, parameters, sizeof(parameters));
	err = (int)syscall(SYS_finit_module, fd, parameters, 0);
	close(fd);
	__atomic_fetch_add(&shared->loads, 1, __ATOMIC_RELEASE);
	return err;
}

/* The helper and open files pin the module: stop the one, and let the others go. */
static int remove_module(struct state *s)
{
	int err = -1, tries;

	if (!options.module || !chance(s, 2))
		return insert(s);
	put(SYSFS "stop", "1");
	if (chance(s, 4))
		return (int)syscall(SYS_delete_module, "umh_shm", O_NONBLOCK);
	let_go(s);
	s->epoch = __atomic_add_fetch(&shared->epoch, 1, __ATOMIC_ACQ_REL);
	for (tries = 0; err && tries < 50; tries++) {
		err = (int)syscall(SYS_delete_module, "umh_shm", O_NONBLOCK);
		if (err && errno != EAGAIN && errno != EBUSY)
			break;
		pause_ms(2);
	}
	insert(s);
	return err;
}

const struct call life_calls[] = {
	{ "attribute-read", read_attribute, 12 },
	{ "attribute-write", write_attribute, 3 },
	{ "request", make_request, 3 },
	{ "bench", make_bench, 1 },
	{ "debugfs-read", read_debugfs, 6 },
	{ "signal", signal_helper, 1 },
	{ "freeze", freeze_helper, 1 },
	{ "inspect", inspect_helper, 4 },
	{ "rmmod-insmod", remove_module, 1 },
	{ 0 }
};
