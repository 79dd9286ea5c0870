// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/umh_shm, for root:
 *   pfns     one line per page: page number, page frame number
 *   request  write a payload, then read the answer from the same open file
 *   bench    write "ROUNDS [THREADS [BYTES]]", read the latest result
 */
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "umh_shm.h"

#define BENCH_THREADS_MAX	32
#define BENCH_ROUNDS_MAX	1000000

static struct dentry *dir;

static int pfns_show(struct seq_file *m, void *unused)
{
	unsigned long i;

	for (i = 0; i < umh_shm_region.nr_pages; i++)
		seq_printf(m, "%lu 0x%lx\n", i, umh_shm_region_pfn(&umh_shm_region, i));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pfns);

/* One open of "request". */
struct request_file {
	struct mutex lock;	/* protects the rest */
	struct umh_shm_reply reply;
	char payload[UMH_SHM_PAYLOAD_MAX];
};

static int request_open(struct inode *inode, struct file *file)
{
	struct request_file *rf;

	rf = kzalloc(sizeof(*rf), GFP_KERNEL);
	if (!rf)
		return -ENOMEM;
	mutex_init(&rf->lock);
	file->private_data = rf;
	return 0;
}

static int request_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t request_write(struct file *file, const char __user *buf, size_t count,
			     loff_t *ppos)
{
	struct request_file *rf = file->private_data;
	int err;

	if (count > sizeof(rf->payload))
		return -EMSGSIZE;
	/* Held until the request is answered or times out. */
	err = mutex_lock_killable(&rf->lock);
	if (err)
		return err;
	rf->reply.len = 0;
	if (copy_from_user(rf->payload, buf, count))
		err = -EFAULT;
	else
		err = umh_shm_helper_request(UMH_SHM_ID_ECHO, rf->payload, count, NULL,
					     &rf->reply);
	if (err)
		rf->reply.len = 0;
	mutex_unlock(&rf->lock);
	/* The next read() starts at the beginning of the answer. */
	*ppos = 0;
	return err ?: count;
}

static ssize_t request_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	struct request_file *rf = file->private_data;
	ssize_t ret;

	ret = mutex_lock_killable(&rf->lock);
	if (ret)
		return ret;
	ret = simple_read_from_buffer(buf, count, ppos, rf->reply.data, rf->reply.len);
	mutex_unlock(&rf->lock);
	return ret;
}

static const struct file_operations request_fops = {
	.owner		= THIS_MODULE,
	.open		= request_open,
	.release	= request_release,
	.read		= request_read,
	.write		= request_write,
	.llseek		= default_llseek,
};

/* One thread of a benchmark. */
struct bench_worker {
	struct work_struct work;
	struct bench_run *run;
	struct umh_shm_reply reply;
	char payload[UMH_SHM_PAYLOAD_MAX];
	unsigned int number;
	int err;
};

struct bench_run {
	unsigned int rounds;	/* per thread */
	unsigned int threads;
	unsigned int bytes;	/* of payload */
	atomic_t at_work;	/* threads */
	struct completion done;	/* at_work is 0 */
	bool killed;		/* the writer was killed: stop early */
};

static DEFINE_MUTEX(bench_lock);	/* one run at a time; protects bench_result */
static char bench_result[128];

static void bench_work(struct work_struct *work)
{
	struct bench_worker *w = container_of(work, struct bench_worker, work);
	struct bench_run *run = w->run;
	unsigned int i;

	memset(w->payload, 'a' + w->number % 26, run->bytes);
	for (i = 0; i < run->rounds && !w->err; i++) {
		/* Each payload differs, so that a stale answer is detected. */
		snprintf(w->payload, sizeof(w->payload), "%u %u", w->number, i);
		w->err = umh_shm_helper_request(UMH_SHM_ID_ECHO, w->payload, run->bytes, NULL,
						&w->reply);
		if (!w->err && (w->reply.len != run->bytes ||
				memcmp(w->reply.data, w->payload, run->bytes)))
			w->err = -EBADMSG;
		if (READ_ONCE(run->killed))
			w->err = -EINTR;
	}
	if (atomic_dec_and_test(&run->at_work))
		complete(&run->done);
}

static int bench(struct bench_run *run)
{
	struct workqueue_struct *wq;
	struct bench_worker *w;
	unsigned int i;
	u64 ns, rounds;
	int err = 0;

	w = kvcalloc(run->threads, sizeof(*w), GFP_KERNEL);
	if (!w)
		return -ENOMEM;
	wq = alloc_workqueue("umh_shm_bench", WQ_UNBOUND, run->threads);
	if (!wq) {
		kvfree(w);
		return -ENOMEM;
	}

	atomic_set(&run->at_work, run->threads);
	init_completion(&run->done);
	ns = ktime_get_ns();
	for (i = 0; i < run->threads; i++) {
		w[i].run = run;
		w[i].number = i;
		INIT_WORK(&w[i].work, bench_work);
		queue_work(wq, &w[i].work);
	}
	/* Killable, since it may take minutes. */
	if (wait_for_completion_killable(&run->done))
		WRITE_ONCE(run->killed, true);
	ns = max_t(u64, ktime_get_ns() - ns, 1);
	destroy_workqueue(wq);	/* waits for the threads */

	for (i = 0; i < run->threads && !err; i++)
		err = w[i].err;
	kvfree(w);
	if (err)
		return err;
	rounds = (u64)run->rounds * run->threads;
	snprintf(bench_result, sizeof(bench_result),
		 "threads %u bytes %u round_trips %llu ns %llu per_second %llu\n",
		 run->threads, run->bytes, rounds, ns,
		 mul_u64_u64_div_u64(rounds, NSEC_PER_SEC, ns));
	return 0;
}

static ssize_t bench_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	struct bench_run run = { .threads = 1, .bytes = 64 };
	char text[64];
	int err;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	text[count] = '\0';
	if (sscanf(text, "%u %u %u", &run.rounds, &run.threads, &run.bytes) < 1)
		return -EINVAL;
	if (!run.rounds || run.rounds > BENCH_ROUNDS_MAX ||
	    !run.threads || run.threads > BENCH_THREADS_MAX ||
	    run.bytes < 24 || run.bytes > UMH_SHM_PAYLOAD_MAX)
		return -EINVAL;

	err = mutex_lock_killable(&bench_lock);
	if (err)
		return err;
	err = bench(&run);
	mutex_unlock(&bench_lock);
	return err ?: count;
}

static ssize_t bench_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	ssize_t ret;

	ret = mutex_lock_killable(&bench_lock);
	if (ret)
		return ret;
	ret = simple_read_from_buffer(buf, count, ppos, bench_result, strlen(bench_result));
	mutex_unlock(&bench_lock);
	return ret;
}

static const struct file_operations bench_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.read	= bench_read,
	.write	= bench_write,
	.llseek	= default_llseek,
};

/* Ignores errors: the module works without debugfs too. */
void umh_shm_debugfs_init(void)
{
	dir = debugfs_create_dir("umh_shm", NULL);
	debugfs_create_file("pfns", 0400, dir, NULL, &pfns_fops);
	debugfs_create_file("request", 0600, dir, NULL, &request_fops);
	debugfs_create_file("bench", 0600, dir, NULL, &bench_fops);
}

void umh_shm_debugfs_exit(void)
{
	debugfs_remove_recursive(dir);
}
