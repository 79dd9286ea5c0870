/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * ABI between the module, its helper and the tests.
 *
 * The region is an array of slots, one per page; slot i begins at i * page size.
 *
 *      byte  +-----------------------------------------------+  written by
 *         0  | req.id                                        |  kernel
 *         4  | req.payload[1024]                             |  kernel
 *      1028  | req.pl_hash[1024]                             |  kernel
 *            +-----------------------------------------------+
 *      2052  | state                                         |  both, see below
 *      2056  | seq          number of this request           |  kernel
 *      2060  | payload_len  bytes used in req.payload        |  kernel
 *            +-----------------------------------------------+
 *      2064  | ack          seq of the request answered here |  helper
 *      2068  | status       0 or a negative errno            |  helper
 *      2072  | reply_len    bytes used in reply              |  helper
 *      2076  | reply[1024]                                   |  helper
 *      3100  | reply_hash[68]  SHA-256 of reply, hex, NULs   |  helper
 *            +-----------------------------------------------+
 *      3168  | unused, up to byte 4096                       |  nobody
 *            +-----------------------------------------------+
 *
 * Request and answer have separate areas, so both can still be read from the
 * idle slot, also in a vmcore, until the next request.
 *
 *      kernel                     state           helper
 *      ------------------------   ------------    --------------------------
 *      takes a free slot          IDLE            sleeps in poll()
 *      writes req, seq, length
 *      store-release ---------->  POSTED
 *      wakes the helper - - - - - - - - - - - ->  read() returns the slot number
 *      sleeps                     CLAIMED  <----  compare-exchange, acquire
 *                                                 copies, checks pl_hash
 *                                                 writes ack, status, reply
 *                                 DONE     <----  store-release
 *      woken  < - - - - - - - - - - - - - - - -   write() of the slot number
 *      load-acquire, copies,
 *      checks the copy
 *      store ------------------>  IDLE
 *
 * read() and write() transfer whole __u32 slot numbers. read() sleeps until
 * there is at least one (O_NONBLOCK: EAGAIN) and returns each request once. It
 * returns 0 when the kernel wants the helper to exit, and poll() then reports
 * POLLHUP. Neither side spins. All ordering is acquire and release on state.
 *
 * The kernel keeps its own records: nothing in the region decides what it reads
 * or writes next, and it copies each field of an answer before checking it.
 *
 * Errors of the system calls on the device:
 *
 *   mmap()   EPERM      the caller is not the helper (and allow_any=0), or
 *                       PROT_EXEC and the node's file system is noexec
 *            EINVAL     not MAP_SHARED
 *            EACCES     PROT_EXEC; PROT_WRITE of a read-only open; any mapping
 *                       of a write-only open
 *            ENXIO      offset and length are not inside the region
 *            EOVERFLOW  offset + length overflow
 *   later    EACCES     mprotect() to PROT_EXEC, or to PROT_WRITE when read-only
 *            EFAULT     mremap() to a larger size
 *            EINVAL     madvise(MADV_DOFORK)
 *                       (fork() does not copy the mapping)
 *   read(),  EPERM      as for mmap(); poll() reports POLLERR
 *   write()  EINVAL     the length is 0 or not a multiple of 4; write() also
 *                       if a slot number is outside the region
 */
#ifndef UMH_SHM_ABI_H
#define UMH_SHM_ABI_H

#include <linux/types.h>
#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/stddef.h>
#else
#include <assert.h>
#include <stddef.h>
#endif

#define UMH_SHM_DEVICE		"umh_shm"	/* in /dev and /sys/class/misc */
#define UMH_SHM_HELPER_COMM	"umh_shm_helper"

#define UMH_SHM_PAYLOAD_MAX	1024		/* bytes, not NUL-terminated */
#define UMH_SHM_REPLY_MAX	1024		/* bytes, not NUL-terminated */
#define UMH_SHM_HEX_LEN		64		/* SHA-256 as lower-case hex */

/* File descriptors that are open when the helper starts. */
#define UMH_SHM_FD_PROGRAM	0	/* its own program text, which it closes */
#define UMH_SHM_FD_LEASH	1	/* its last close means that the helper is gone */
#define UMH_SHM_FD_DEVICE	2	/* the device, used if /dev has no node for it */

/* rztee_kreq.id */
enum umh_shm_id {
	/* pl_hash is the payload's SHA-256; the answer is the payload. */
	UMH_SHM_ID_ECHO		= 1,
	/* pl_hash is a plain word; the answer is "ID PAYLOAD PL_HASH". */
	UMH_SHM_ID_HEALTH	= 2,
};

#define UMH_SHM_HEALTH_PAYLOAD	"hello"
#define UMH_SHM_HEALTH_WORD	"world"
#define UMH_SHM_HEALTH_REPLY	"2 hello world"

/* umh_shm_slot.state */
enum umh_shm_state {
	UMH_SHM_IDLE	= 0,
	UMH_SHM_POSTED	= 1,
	UMH_SHM_CLAIMED	= 2,
	UMH_SHM_DONE	= 3,
};

struct rztee_kreq {
	__u32	id;
	char	payload[UMH_SHM_PAYLOAD_MAX];
	char	pl_hash[1024];
};

struct umh_shm_slot {
	struct rztee_kreq req;
	__u32	state;
	__u32	seq;
	__u32	payload_len;
	__u32	ack;
	__s32	status;
	__u32	reply_len;
	char	reply[UMH_SHM_REPLY_MAX];
	char	reply_hash[68];
	char	unused[928];
};

static_assert(sizeof(struct rztee_kreq) == 2052, "the request is 2052 bytes");
static_assert(offsetof(struct umh_shm_slot, state) == 2052, "no hole before state");
static_assert(offsetof(struct umh_shm_slot, ack) == 2064, "as drawn above");
static_assert(offsetof(struct umh_shm_slot, reply_hash) == 3100, "as drawn above");
static_assert(sizeof(struct umh_shm_slot) == 4096, "a slot is one 4 KiB page");

#endif /* UMH_SHM_ABI_H */
