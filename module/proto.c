// SPDX-License-Identifier: GPL-2.0
/*
 * Requests and answers through the slots (drawn in umh_shm_abi.h).
 *
 * The other side can write to the region at any time. So the kernel keeps its
 * own records, struct umh_shm_books. It reads only the state word of a slot and,
 * once, the answer.
 */
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "umh_shm.h"

static unsigned int timeout_ms = 5000;
module_param(timeout_ms, uint, 0444);
MODULE_PARM_DESC(timeout_ms, "milliseconds to wait for an answer (default 5000)");

/* Well below 120 s, when the hung task detector reports uninterruptible waiters. */
#define TIMEOUT_MS_MAX	60000U

enum slot_use {
	SLOT_FREE,
	SLOT_BUSY,		/* a requester waits for the answer */
	SLOT_ABANDONED,		/* the requester gave up; the helper may still write here */
};

/* The kernel's record of one slot. */
struct slot_books {
	enum slot_use use;
	u32 seq;		/* of the latest request; only the slot's owner changes it */
	bool rung;		/* the helper rang for this slot */
	bool gone;		/* the helper that had it is gone */
	wait_queue_head_t answered;
};

/* The kernel's records of all slots. */
struct umh_shm_books {
	const struct umh_shm_region *region;

	spinlock_t lock;	/* protects the next three and all slots' use, rung, gone */
	struct slot_books *slots;
	unsigned long *free;	/* bit set: slot is free */
	unsigned long *pending;	/* bit set: posted, not read by the helper yet */

	wait_queue_head_t freed;	/* for a free slot */
	wait_queue_head_t readers;	/* the helper, for a pending slot */

	struct mutex last_lock;	/* protects last */
	struct umh_shm_reply last;
};

static struct umh_shm_books books = {
	.lock = __SPIN_LOCK_UNLOCKED(books.lock),
	.freed = __WAIT_QUEUE_HEAD_INITIALIZER(books.freed),
	.readers = __WAIT_QUEUE_HEAD_INITIALIZER(books.readers),
	.last_lock = __MUTEX_INITIALIZER(books.last_lock),
};

int umh_shm_proto_init(const struct umh_shm_region *region)
{
	unsigned long i;

	if (!timeout_ms || timeout_ms > TIMEOUT_MS_MAX) {
		pr_err("timeout_ms=%u: not within 1 to %u\n", timeout_ms, TIMEOUT_MS_MAX);
		return -EINVAL;
	}
	books.region = region;
	books.slots = kvcalloc(region->nr_pages, sizeof(*books.slots), GFP_KERNEL);
	books.free = bitmap_zalloc(region->nr_pages, GFP_KERNEL);
	books.pending = bitmap_zalloc(region->nr_pages, GFP_KERNEL);
	if (!books.slots || !books.free || !books.pending) {
		umh_shm_proto_exit();
		return -ENOMEM;
	}
	for (i = 0; i < region->nr_pages; i++)
		init_waitqueue_head(&books.slots[i].answered);
	bitmap_fill(books.free, region->nr_pages);
	return 0;
}

/* Safe on half-built state. */
void umh_shm_proto_exit(void)
{
	bitmap_free(books.pending);
	bitmap_free(books.free);
	kvfree(books.slots);
	books.pending = NULL;
	books.free = NULL;
	books.slots = NULL;
}

static void set_state(u32 index, u32 state)
{
	struct umh_shm_slot *slot = umh_shm_region_slot(books.region, index);

	/* Release: a reader that sees the state also sees what was written before. */
	smp_store_release(&slot->state, state);
}

static u32 get_state(u32 index)
{
	const struct umh_shm_slot *slot = umh_shm_region_slot(books.region, index);

	/* Acquire: later reads see what was written before the state. */
	return smp_load_acquire(&slot->state);
}

/* Frees the slot. The caller holds the lock. */
static void free_slot_locked(u32 index)
{
	set_state(index, UMH_SHM_IDLE);
	books.slots[index].use = SLOT_FREE;
	__clear_bit(index, books.pending);
	__set_bit(index, books.free);
	wake_up(&books.freed);
}

/* Makes a free slot busy; returns its index or -EAGAIN. */
static int try_slot(void)
{
	unsigned long nr = books.region->nr_pages, index;
	struct slot_books *sb;

	spin_lock(&books.lock);
	index = find_first_bit(books.free, nr);
	if (index < nr) {
		__clear_bit(index, books.free);
		sb = &books.slots[index];
		sb->use = SLOT_BUSY;
		sb->rung = false;
		sb->gone = false;
	}
	spin_unlock(&books.lock);
	return index < nr ? (int)index : -EAGAIN;
}

/* Jiffies until @deadline, 0 if it has passed. */
static long time_left(unsigned long deadline)
{
	return max((long)(deadline - jiffies), 0L);
}

/* Waits for a free slot. */
static int take_slot(unsigned long deadline)
{
	int index;
	long ret;

	ret = wait_event_killable_timeout(books.freed, (index = try_slot()) >= 0,
					  time_left(deadline));
	if (ret < 0)
		return -EINTR;
	return ret ? index : -ETIMEDOUT;
}

/* Withdraws a request that is still POSTED; a claim uses the same compare-exchange. */
static bool withdraw(u32 index)
{
	struct umh_shm_slot *slot = umh_shm_region_slot(books.region, index);

	return cmpxchg(&slot->state, UMH_SHM_POSTED, UMH_SHM_IDLE) == UMH_SHM_POSTED;
}

/* Gives up the slot. If it is not finished, the helper may still write to it. */
static void leave_slot(u32 index, bool finished)
{
	struct slot_books *sb = &books.slots[index];

	spin_lock(&books.lock);
	if (finished || sb->gone || withdraw(index))
		free_slot_locked(index);
	else
		sb->use = SLOT_ABANDONED;
	spin_unlock(&books.lock);
}

static void hash_hex(char hex[UMH_SHM_HEX_LEN + 1], const void *data, size_t len)
{
	u8 digest[SHA256_DIGEST_SIZE];

	BUILD_BUG_ON(2 * SHA256_DIGEST_SIZE != UMH_SHM_HEX_LEN);
	sha256(data, len, digest);
	snprintf(hex, UMH_SHM_HEX_LEN + 1, "%*phN", SHA256_DIGEST_SIZE, digest);
}

/* Writes the request into the slot and notifies the helper. */
static void post(u32 index, u32 id, const void *payload, size_t len, const char *word)
{
	struct umh_shm_slot *slot = umh_shm_region_slot(books.region, index);
	struct slot_books *sb = &books.slots[index];

	slot->req.id = id;
	memcpy(slot->req.payload, payload, len);
	memset(slot->req.payload + len, 0, sizeof(slot->req.payload) - len);
	memset(slot->req.pl_hash, 0, sizeof(slot->req.pl_hash));
	if (word)
		strscpy(slot->req.pl_hash, word, sizeof(slot->req.pl_hash));
	else
		hash_hex(slot->req.pl_hash, payload, len);
	slot->seq = ++sb->seq;
	slot->payload_len = len;
	set_state(index, UMH_SHM_POSTED);

	spin_lock(&books.lock);
	__set_bit(index, books.pending);
	spin_unlock(&books.lock);
	umh_shm_proto_wake_readers();
}

static bool take_ring(struct slot_books *sb, bool *gone)
{
	bool woken;

	spin_lock(&books.lock);
	*gone = sb->gone;
	woken = sb->rung || sb->gone;
	sb->rung = false;
	spin_unlock(&books.lock);
	return woken;
}

/* Sleeps until the slot's state is DONE. */
static int wait_done(u32 index, unsigned long deadline)
{
	struct slot_books *sb = &books.slots[index];
	bool gone = false;
	long ret;

	/* Check the deadline here: a peer that rings continuously keeps the wait from sleeping. */
	do {
		ret = wait_event_killable_timeout(sb->answered, take_ring(sb, &gone),
						  time_left(deadline));
		if (ret < 0)
			return -EINTR;
		if (gone)
			return -EPIPE;
		/* Check after a time-out too: the bell may have been lost. */
		if (get_state(index) == UMH_SHM_DONE)
			return 0;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	} while (time_left(deadline));
	return -ETIMEDOUT;
}

/*
 * Copies the answer, then checks the copy. If the slot changes meanwhile, the
 * hash is wrong.
 */
static int copy_reply(u32 index, struct umh_shm_reply *reply)
{
	const struct umh_shm_slot *slot = umh_shm_region_slot(books.region, index);
	char theirs[UMH_SHM_HEX_LEN], ours[UMH_SHM_HEX_LEN + 1];
	u32 ack = READ_ONCE(slot->ack);
	u32 len = READ_ONCE(slot->reply_len);
	s32 status = READ_ONCE(slot->status);

	if (ack != books.slots[index].seq || len > UMH_SHM_REPLY_MAX)
		return -EBADMSG;
	if (status)
		return status < 0 && status >= -MAX_ERRNO ? -EREMOTEIO : -EBADMSG;
	memcpy(reply->data, slot->reply, len);
	memcpy(theirs, slot->reply_hash, sizeof(theirs));
	reply->data[len] = '\0';
	reply->len = len;
	hash_hex(ours, reply->data, len);
	return memcmp(ours, theirs, sizeof(theirs)) ? -EBADMSG : 0;
}

static void remember(const struct umh_shm_reply *reply)
{
	mutex_lock(&books.last_lock);
	books.last = *reply;
	mutex_unlock(&books.last_lock);
}

void umh_shm_proto_last_reply(struct umh_shm_reply *reply)
{
	mutex_lock(&books.last_lock);
	*reply = books.last;
	mutex_unlock(&books.last_lock);
}

/**
 * umh_shm_proto_request() - send one request and wait for its answer
 * @id: one of enum umh_shm_id
 * @payload: @len bytes
 * @len: at most UMH_SHM_PAYLOAD_MAX
 * @word: what to put into pl_hash, NULL for the payload's SHA-256
 * @reply: on success the answer, whose hash was checked
 *
 * May sleep. Any number of threads may call it; a slot holds one request.
 *
 * Return: 0, -EMSGSIZE: payload too long, -ETIMEDOUT: no slot or no answer
 * within timeout_ms, -EINTR: killed while waiting, -EPIPE: the helper died,
 * -EBADMSG: the answer is malformed, -EREMOTEIO: the helper refused the request.
 */
int umh_shm_proto_request(u32 id, const void *payload, size_t len, const char *word,
			  struct umh_shm_reply *reply)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(timeout_ms);
	int index, err;

	if (len > UMH_SHM_PAYLOAD_MAX)
		return -EMSGSIZE;
	index = take_slot(deadline);
	if (index < 0)
		return index;

	post(index, id, payload, len, word);
	err = wait_done(index, deadline);
	if (err) {
		leave_slot(index, false);
		return err;
	}
	err = copy_reply(index, reply);
	leave_slot(index, true);
	if (!err)
		remember(reply);
	return err;
}

bool umh_shm_proto_pending(void)
{
	bool pending;

	spin_lock(&books.lock);
	pending = !bitmap_empty(books.pending, books.region->nr_pages);
	spin_unlock(&books.lock);
	return pending;
}

/* Moves up to @max numbers of posted slots into @slots. Returns each request once. */
unsigned int umh_shm_proto_take(u32 *slots, unsigned int max)
{
	unsigned int n = 0;
	unsigned long index;

	spin_lock(&books.lock);
	for_each_set_bit(index, books.pending, books.region->nr_pages) {
		if (n == max)
			break;
		__clear_bit(index, books.pending);
		slots[n++] = index;
	}
	spin_unlock(&books.lock);
	return n;
}

/* The reader did not get these: a request that still has a waiter is pending again. */
void umh_shm_proto_give_back(const u32 *slots, unsigned int nr)
{
	unsigned int i;

	spin_lock(&books.lock);
	for (i = 0; i < nr; i++)
		if (books.slots[slots[i]].use == SLOT_BUSY)
			__set_bit(slots[i], books.pending);
		else if (books.slots[slots[i]].use == SLOT_ABANDONED)
			free_slot_locked(slots[i]);
	spin_unlock(&books.lock);
}

/* The helper reports an answer in @slot, which is not checked here. */
int umh_shm_proto_bell(u32 slot)
{
	struct slot_books *sb;

	if (slot >= books.region->nr_pages)
		return -EINVAL;
	sb = &books.slots[slot];
	spin_lock(&books.lock);
	if (sb->use == SLOT_BUSY) {
		sb->rung = true;
		wake_up(&sb->answered);
	} else if (sb->use == SLOT_ABANDONED && get_state(slot) == UMH_SHM_DONE) {
		free_slot_locked(slot);
	}
	spin_unlock(&books.lock);
	return 0;
}

/* The helper is gone: waiters get -EPIPE, all other slots become free. */
void umh_shm_proto_peer_gone(void)
{
	unsigned long index;

	spin_lock(&books.lock);
	bitmap_zero(books.pending, books.region->nr_pages);
	for (index = 0; index < books.region->nr_pages; index++) {
		struct slot_books *sb = &books.slots[index];

		if (sb->use == SLOT_BUSY) {
			sb->gone = true;
			wake_up(&sb->answered);
		} else if (sb->use == SLOT_ABANDONED) {
			free_slot_locked(index);
		}
	}
	spin_unlock(&books.lock);
}

void umh_shm_proto_wake_readers(void)
{
	wake_up_interruptible_poll(&books.readers, EPOLLIN | EPOLLRDNORM);
}

struct wait_queue_head *umh_shm_proto_readers(void)
{
	return &books.readers;
}
