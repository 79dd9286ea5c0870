// SPDX-License-Identifier: GPL-2.0
/*
 * Life cycle of the helper: start, restart after its death, stop. launch.c
 * creates the process and reports its death.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "umh_shm.h"

static unsigned int max_restarts = 10;
module_param(max_restarts, uint, 0444);
MODULE_PARM_DESC(max_restarts, "restarts in a row, each after less than 60 s, before giving up (default 10)");

static unsigned int restart_ms = 100;
module_param(restart_ms, uint, 0444);
MODULE_PARM_DESC(restart_ms, "milliseconds before the first restart, doubled each time up to 50 times that (default 100)");

#define RESTART_MS_MAX	60000U	/* for the parameter */
#define BACKOFF_MAX	50	/* times restart_ms */
#define STABLE_SECONDS	60	/* after this uptime a death starts a new count of restarts */
#define LEAVE_MS	1000	/* to exit by itself after a stop, before SIGKILL */
#define KILL_MS		5000	/* to be gone after SIGKILL */

enum helper_state {
	HELPER_STARTING,	/* launched, no answer yet */
	HELPER_HEALTHY,		/* answered the latest health check */
	HELPER_UNHEALTHY,	/* did not answer it, or wrongly */
	HELPER_RESTARTING,	/* gone, a restart is planned */
	HELPER_FAILED,		/* gone, restart limit reached */
	HELPER_STOPPING,
	HELPER_STOPPED,
};

static const char * const state_names[] = {
	[HELPER_STARTING]	= "starting",
	[HELPER_HEALTHY]	= "healthy",
	[HELPER_UNHEALTHY]	= "unhealthy",
	[HELPER_RESTARTING]	= "restarting",
	[HELPER_FAILED]		= "failed",
	[HELPER_STOPPING]	= "stopping",
	[HELPER_STOPPED]	= "stopped",
};

/* State of the only helper. */
struct umh_shm_helper {
	struct workqueue_struct *wq;	/* ordered: one launch or check at a time */
	struct delayed_work launch;
	struct work_struct health;
	wait_queue_head_t left;		/* for !active */

	/* Serializes start and stop. Outside lock. Held for seconds, so take it killably. */
	struct mutex control;

	/*
	 * Protects the fields below. Without the lock, the helper's own process
	 * sets tgid and exec_id while active, and any task compares them and
	 * reads state, stopping, active and restarts.
	 */
	struct mutex lock;
	enum helper_state state;
	bool stopping;			/* do not launch again */
	bool active;			/* from a launch until helper_gone() */
	struct pid *tgid;		/* referenced, so its address is not reused */
	u64 exec_id;			/* task_struct.self_exec_id of our program */
	unsigned int launches;		/* in total */
	unsigned int restarts;		/* in total */
	unsigned int in_a_row;
	unsigned int delay_ms;		/* before the next restart */
	time64_t born;			/* seconds, ktime_get_seconds() */
};

static struct umh_shm_helper helper = {
	.left = __WAIT_QUEUE_HEAD_INITIALIZER(helper.left),
	.control = __MUTEX_INITIALIZER(helper.control),
	.lock = __MUTEX_INITIALIZER(helper.lock),
	.state = HELPER_STOPPED,
	.stopping = true,
};

/*
 * Whether the current task belongs to the helper: same thread group, and still
 * executing our program. Compares struct pid and not the number, because numbers
 * are reused and differ between pid namespaces.
 */
bool umh_shm_helper_is_current(void)
{
	/* Acquire: pairs with adopt_current(). exec_id belongs to tgid. */
	return smp_load_acquire(&helper.tgid) == task_tgid(current) &&
	       READ_ONCE(helper.exec_id) == READ_ONCE(current->self_exec_id);
}

/* Makes the current task, which is about to execute our program, the helper. */
static void adopt_current(void)
{
	/* The coming execve() adds one to self_exec_id. */
	WRITE_ONCE(helper.exec_id, current->self_exec_id + 1);
	/* Release: pairs with umh_shm_helper_is_current(). */
	smp_store_release(&helper.tgid, get_pid(task_tgid(current)));
}

/* Whether the current task is the helper and must exit. */
bool umh_shm_helper_dismissed(void)
{
	return READ_ONCE(helper.stopping) && umh_shm_helper_is_current();
}

/* The pid in the reader's pid namespace, 0 if no helper runs. */
pid_t umh_shm_helper_pid(void)
{
	pid_t nr;

	mutex_lock(&helper.lock);
	nr = pid_vnr(helper.tgid);
	mutex_unlock(&helper.lock);
	return nr;
}

unsigned int umh_shm_helper_restarts(void)
{
	return READ_ONCE(helper.restarts);
}

const char *umh_shm_helper_state(void)
{
	return state_names[READ_ONCE(helper.state)];
}

/* Caller holds the lock. */
static void plan_restart(void)
{
	lockdep_assert_held(&helper.lock);
	if (ktime_get_seconds() - helper.born >= STABLE_SECONDS) {
		helper.in_a_row = 0;
		helper.delay_ms = restart_ms;
	}
	if (helper.in_a_row >= max_restarts) {
		WRITE_ONCE(helper.state, HELPER_FAILED);
		pr_err("the helper is gone and not launched again after %u restarts; to try again, write 0 to /sys/class/misc/umh_shm/stop\n",
		       helper.in_a_row);
		return;
	}
	helper.in_a_row++;
	WRITE_ONCE(helper.restarts, helper.restarts + 1);
	WRITE_ONCE(helper.state, HELPER_RESTARTING);
	pr_notice("the helper is gone, restart %u of %u in %u ms\n", helper.in_a_row,
		  max_restarts, helper.delay_ms);
	queue_delayed_work(helper.wq, &helper.launch, msecs_to_jiffies(helper.delay_ms));
	helper.delay_ms = min(helper.delay_ms * 2, restart_ms * BACKOFF_MAX);
}

/* Called exactly once per launch, also if it failed. */
static void helper_gone(void)
{
	struct pid *tgid;

	mutex_lock(&helper.lock);
	tgid = helper.tgid;
	WRITE_ONCE(helper.tgid, NULL);
	WRITE_ONCE(helper.active, false);
	umh_shm_proto_peer_gone();
	if (helper.stopping)
		WRITE_ONCE(helper.state, HELPER_STOPPED);
	else
		plan_restart();
	mutex_unlock(&helper.lock);
	wake_up_all(&helper.left);

	/* Kill a helper that closed its leash but is still running. */
	if (tgid)
		kill_pid(tgid, SIGKILL, 1);
	put_pid(tgid);
}

static const struct umh_shm_launch_ops launch_ops = {
	.adopt_current	= adopt_current,
	.gone		= helper_gone,
};

static void launch_work(struct work_struct *work)
{
	mutex_lock(&helper.lock);
	if (helper.stopping) {
		mutex_unlock(&helper.lock);
		return;
	}
	WRITE_ONCE(helper.state, HELPER_STARTING);
	WRITE_ONCE(helper.active, true);
	helper.launches++;
	helper.born = ktime_get_seconds();
	mutex_unlock(&helper.lock);

	if (!umh_shm_launch())
		queue_work(helper.wq, &helper.health);
}

/* Whether a health check may change the state. Caller holds the lock. */
static bool can_be_judged(void)
{
	lockdep_assert_held(&helper.lock);
	switch (helper.state) {
	case HELPER_STARTING:
	case HELPER_HEALTHY:
	case HELPER_UNHEALTHY:
		return true;
	default:
		return false;
	}
}

/**
 * umh_shm_helper_request() - send one request unless nobody can answer it
 *
 * A process that mapped the region can answer in the helper's place, with
 * allow_any=1. The arguments are those of umh_shm_proto_request().
 *
 * Return: as umh_shm_proto_request(), or -ENOTCONN: no helper and no mapping.
 */
int umh_shm_helper_request(u32 id, const void *payload, size_t len, const char *word,
			   struct umh_shm_reply *reply)
{
	if (!READ_ONCE(helper.tgid) && !atomic_read(&umh_shm_region.live_mappings))
		return -ENOTCONN;
	return umh_shm_proto_request(id, payload, len, word, reply);
}

/**
 * umh_shm_helper_health() - run a health check and record its result
 *
 * Return: 0, or the error of umh_shm_helper_request(); -EBADMSG: a wrong answer.
 */
int umh_shm_helper_health(void)
{
	struct umh_shm_reply *reply;
	unsigned int launch;
	int err;

	reply = kmalloc(sizeof(*reply), GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	mutex_lock(&helper.lock);
	launch = helper.launches;
	mutex_unlock(&helper.lock);
	err = umh_shm_helper_request(UMH_SHM_ID_HEALTH, UMH_SHM_HEALTH_PAYLOAD,
				     strlen(UMH_SHM_HEALTH_PAYLOAD), UMH_SHM_HEALTH_WORD, reply);
	if (!err && (reply->len != strlen(UMH_SHM_HEALTH_REPLY) ||
		     memcmp(reply->data, UMH_SHM_HEALTH_REPLY, reply->len)))
		err = -EBADMSG;
	if (err && !READ_ONCE(helper.stopping))
		pr_err("unhealthy: no valid answer from the helper: error %d\n", err);
	if (!err)
		pr_info("%s\n", reply->data);
	kfree(reply);

	mutex_lock(&helper.lock);
	/* The result does not apply to a helper that was launched meanwhile. */
	if (helper.launches == launch && can_be_judged())
		WRITE_ONCE(helper.state, err ? HELPER_UNHEALTHY : HELPER_HEALTHY);
	mutex_unlock(&helper.lock);
	return err;
}

static void health_work(struct work_struct *work)
{
	umh_shm_helper_health();
}

/**
 * umh_shm_helper_start() - launch the helper unless it was launched already
 *
 * Does not wait for the launch.
 *
 * Return: 0; -EBUSY: a stopped helper is not gone yet, and the module can track
 * only one; -EINTR: killed while waiting for another start or stop.
 */
int umh_shm_helper_start(void)
{
	int err;

	err = mutex_lock_killable(&helper.control);
	if (err)
		return err;
	mutex_lock(&helper.lock);
	if (helper.stopping && helper.active) {
		err = -EBUSY;
	} else if (helper.stopping || helper.state == HELPER_FAILED) {
		WRITE_ONCE(helper.stopping, false);
		WRITE_ONCE(helper.state, HELPER_STARTING);
		helper.in_a_row = 0;
		helper.delay_ms = restart_ms;
		/* Free slots that other processes claimed, with allow_any=1. */
		umh_shm_proto_peer_gone();
		queue_delayed_work(helper.wq, &helper.launch, 0);
	}
	mutex_unlock(&helper.lock);
	mutex_unlock(&helper.control);
	return err;
}

/* Returns 0; -EBUSY: still there; -EINTR: killed while waiting. */
static int wait_left(unsigned int ms)
{
	long ret = wait_event_killable_timeout(helper.left, !READ_ONCE(helper.active),
					       msecs_to_jiffies(ms));

	if (ret < 0)
		return -EINTR;
	return ret ? 0 : -EBUSY;
}

/*
 * The leash is released in the middle of the exit. Once no task has the pid, the
 * process has closed its other files too, and they no longer pin the module.
 */
static void wait_reaped(struct pid *tgid)
{
	unsigned long end = jiffies + msecs_to_jiffies(LEAVE_MS);
	bool there;

	do {
		rcu_read_lock();
		there = pid_task(tgid, PIDTYPE_TGID);
		rcu_read_unlock();
		if (!there)
			return;
		usleep_range(500, 2000);
	} while (time_before(jiffies, end));
}

/* Caller holds control, or no other caller is left. */
static int stop_helper(void)
{
	struct pid *tgid;
	int err;

	mutex_lock(&helper.lock);
	WRITE_ONCE(helper.stopping, true);
	WRITE_ONCE(helper.state, helper.active ? HELPER_STOPPING : HELPER_STOPPED);
	mutex_unlock(&helper.lock);

	/* After this no launch runs or is planned; the latest helper may be alive. */
	cancel_delayed_work_sync(&helper.launch);
	umh_shm_proto_wake_readers();

	mutex_lock(&helper.lock);
	tgid = get_pid(helper.tgid);
	mutex_unlock(&helper.lock);
	err = wait_left(LEAVE_MS);
	if (err == -EBUSY) {
		pr_notice("the helper did not exit by itself and is killed\n");
		if (tgid)
			kill_pid(tgid, SIGKILL, 1);
		err = wait_left(KILL_MS);
	}
	if (tgid && !err)
		wait_reaped(tgid);
	put_pid(tgid);
	return err;
}

/**
 * umh_shm_helper_stop() - stop the helper and do not launch it again
 *
 * Dismisses the helper, and kills it after a second. Afterwards the module can
 * be unloaded unless another process has the device open.
 *
 * Return: 0, also if it was stopped before; -EBUSY: it cannot be killed;
 * -EINTR: killed while waiting. After an error the helper may still run, but is
 * not launched again.
 */
int umh_shm_helper_stop(void)
{
	int err;

	err = mutex_lock_killable(&helper.control);
	if (err)
		return err;
	err = stop_helper();
	mutex_unlock(&helper.control);
	return err;
}

int __init umh_shm_helper_init(const struct miscdevice *device)
{
	int err;

	if (!restart_ms || restart_ms > RESTART_MS_MAX) {
		pr_err("restart_ms=%u: not within 1 to %u\n", restart_ms, RESTART_MS_MAX);
		return -EINVAL;
	}
	INIT_DELAYED_WORK(&helper.launch, launch_work);
	INIT_WORK(&helper.health, health_work);
	helper.wq = alloc_ordered_workqueue("umh_shm", 0);
	if (!helper.wq)
		return -ENOMEM;
	err = umh_shm_launch_init(device, &launch_ops);
	if (err) {
		pr_err("cannot set up the helper's program: error %d\n", err);
		destroy_workqueue(helper.wq);
	}
	return err;
}

/*
 * The last call into this file: a start after this stop would leave a timer
 * behind. No helper is alive, as it would pin the module.
 */
void umh_shm_helper_exit(void)
{
	stop_helper();
	/* Waits for a health check, at most for its time-out. */
	destroy_workqueue(helper.wq);
	umh_shm_launch_exit();
}
