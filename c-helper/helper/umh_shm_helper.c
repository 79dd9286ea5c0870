// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The helper that is embedded in umh_shm.ko and launched by it. It answers the
 * requests that the kernel puts into the shared memory. umh_shm_abi.h describes
 * the protocol.
 *
 * Arguments: MAJOR:MINOR of the device, length of the region in bytes.
 * Exit status: 0 if the kernel dismissed it, else the step that failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sha256.h>
#include <signal.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "confine.h"
#include "umh_shm_abi.h"

enum exit_status {
	EXIT_DISMISSED,
	EXIT_USAGE,
	EXIT_DEVICE,
	EXIT_MMAP,
	EXIT_CONFINE,
	EXIT_IO,
};

struct region {
	char *base;
	size_t stride;		/* bytes from slot to slot: a page */
	uint32_t nr_slots;
};

/* Descriptors below this stay closed, because libc writes error messages to 2. */
#define FIRST_FD 10

/* Moves @fd above stdio's descriptors. Returns the new descriptor or -1. */
static int move_fd(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);

	close(fd);
	return moved;
}

/*
 * Opens the node in /dev if it is the right device, so that lsof and
 * /proc/PID/maps show a familiar name. Otherwise uses the file that the kernel
 * passed. Returns a descriptor or -1.
 */
static int open_device(const char *numbers)
{
	unsigned int maj, min;
	struct stat st;
	int handed, node;

	if (sscanf(numbers, "%u:%u", &maj, &min) != 2)
		return -1;
	handed = move_fd(UMH_SHM_FD_DEVICE);
	node = open("/dev/" UMH_SHM_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (node < 0)
		return handed;
	if (fstat(node, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(maj, min)) {
		close(node);
		return handed;
	}
	close(handed);
	return move_fd(node);
}

static void hash_hex(char hex[static SHA256_DIGEST_STRING_LENGTH], const char *data, size_t len)
{
	SHA256Data((const uint8_t *)data, len, hex);
}

/* Computes the answer to @req: 0 and the reply, or a negative errno. */
static int answer(const struct rztee_kreq *req, uint32_t payload_len, char *reply,
		  uint32_t *reply_len)
{
	char hex[SHA256_DIGEST_STRING_LENGTH];
	int n;

	if (payload_len > sizeof(req->payload))
		return -EMSGSIZE;
	switch (req->id) {
	case UMH_SHM_ID_HEALTH:
		n = snprintf(reply, UMH_SHM_REPLY_MAX, "%u %.*s %.*s", (unsigned int)req->id,
			     (int)payload_len, req->payload, (int)sizeof(req->pl_hash),
			     req->pl_hash);
		*reply_len = n < UMH_SHM_REPLY_MAX ? (uint32_t)n : UMH_SHM_REPLY_MAX - 1;
		return 0;
	case UMH_SHM_ID_ECHO:
		hash_hex(hex, req->payload, payload_len);
		if (memcmp(hex, req->pl_hash, UMH_SHM_HEX_LEN))
			return -EBADMSG;
		memcpy(reply, req->payload, payload_len);
		*reply_len = payload_len;
		return 0;
	}
	return -EOPNOTSUPP;
}

/* Claims and answers the slot. Returns false if there is nothing to claim. */
static bool serve(const struct region *region, uint32_t index)
{
	struct umh_shm_slot *slot = (void *)(region->base + index * region->stride);
	char hash[sizeof(slot->reply_hash)] = { 0 };
	char reply[UMH_SHM_REPLY_MAX];
	struct rztee_kreq req;
	uint32_t state = UMH_SHM_POSTED, reply_len = 0;
	int status;

	if (!__atomic_compare_exchange_n(&slot->state, &state, UMH_SHM_CLAIMED, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	memcpy(&req, &slot->req, sizeof(req));
	status = answer(&req, slot->payload_len, reply, &reply_len);
	hash_hex(hash, reply, reply_len);

	slot->ack = slot->seq;
	slot->status = status;
	slot->reply_len = reply_len;
	memcpy(slot->reply, reply, reply_len);
	memset(slot->reply + reply_len, 0, sizeof(slot->reply) - reply_len);
	memcpy(slot->reply_hash, hash, sizeof(hash));
	__atomic_store_n(&slot->state, UMH_SHM_DONE, __ATOMIC_RELEASE);
	return true;
}

/* Answers requests until the kernel dismisses the helper. */
static enum exit_status loop(const struct region *region, int device)
{
	struct pollfd pfd = { .fd = device, .events = POLLIN };
	uint32_t slots[16];

	for (;;) {
		ssize_t n;

		if (poll(&pfd, 1, -1) < 0 && errno != EINTR)
			return EXIT_IO;
		n = read(device, slots, sizeof(slots));
		if (!n)
			return EXIT_DISMISSED;
		if (n < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return EXIT_IO;
		}
		for (size_t i = 0; i < (size_t)n / sizeof(slots[0]); i++) {
			if (slots[i] >= region->nr_slots || !serve(region, slots[i]))
				continue;
			while (write(device, &slots[i], sizeof(slots[i])) < 0)
				if (errno != EINTR)
					return EXIT_IO;
		}
	}
}

int main(int argc, char **argv)
{
	struct region region;
	size_t length;
	int device;

	if (argc != 3)
		return EXIT_USAGE;
	prctl(PR_SET_NAME, UMH_SHM_HELPER_COMM);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	close(UMH_SHM_FD_PROGRAM);
	/* Open until exit: its close means our death to the kernel. */
	if (move_fd(UMH_SHM_FD_LEASH) < 0)
		return EXIT_DEVICE;
	device = open_device(argv[1]);
	if (device < 0)
		return EXIT_DEVICE;

	length = strtoul(argv[2], NULL, 10);
	region.stride = (size_t)sysconf(_SC_PAGESIZE);
	region.nr_slots = (uint32_t)(length / region.stride);
	region.base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	if (region.base == MAP_FAILED)
		return EXIT_MMAP;
	if (confine())
		return EXIT_CONFINE;
	return loop(&region, device);
}
