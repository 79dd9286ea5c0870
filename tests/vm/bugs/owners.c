// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory of other owners: free pages, a task's stack, another driver's page. */
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "shares_bugs.h"

#define STACK_ORDER	2	/* THREAD_SIZE of x86_64 */

static void take_first(struct shares_bugs_case *one, struct page *page)
{
	one->kernel = page_address(page);
	one->pages[0] = page;
	one->given[0] = page;
	snprintf(one->kernel, PAGE_SIZE, "shares_bugs owners");
}

/*
 * A page that stays on the free list of its CPU, because nothing else allocates from ZONE_DMA. The
 * twin is the second page of an allocation in use, which has no reference either.
 */
int make_listed(struct shares_bugs_case *one)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO;
	struct page *page = one->sound ? alloc_pages(gfp, 1) : alloc_page(gfp | GFP_DMA);

	if (!page)
		return -ENOMEM;
	take_first(one, one->sound ? page + 1 : page);
	return 0;
}

/* As large as a stack. */
int make_freed_stack(struct shares_bugs_case *one)
{
	struct page *first = alloc_pages(GFP_KERNEL | __GFP_ZERO, STACK_ORDER);

	if (!first)
		return -ENOMEM;
	take_first(one, first);
	return 0;
}

/*
 * Newer kernels allocate a stack in one piece, older ones in single pages. Free the memory in both
 * ways in turn, so that every kernel reuses some of it.
 */
int spoil_freed_stack(struct shares_bugs_case *one)
{
	static bool whole;
	int i;

	whole = !whole;
	if (whole) {
		__free_pages(one->pages[0], STACK_ORDER);
		return 0;
	}
	split_page(one->pages[0], STACK_ORDER);
	for (i = (1 << STACK_ORDER) - 1; i >= 0; i--)
		__free_page(one->pages[0] + i);
	return 0;
}

int shares_bugs_has_stack(const struct shares_bugs_stack __user *from)
{
	struct shares_bugs_stack asked;
	struct task_struct *task;
	char *stack;
	int found = 0;
	int at;

	if (copy_from_user(&asked, from, sizeof(asked)))
		return -EFAULT;
	rcu_read_lock();
	task = pid_task(find_vpid(asked.pid), PIDTYPE_PID);
	stack = task ? task_stack_page(task) : NULL;
	for (at = 0; stack && is_vmalloc_addr(stack) && at < THREAD_SIZE; at += PAGE_SIZE)
		found |= vmalloc_to_pfn(stack + at) == asked.frame;
	rcu_read_unlock();
	return found;
}

static int sleep_on(void *unused)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		schedule();
	}
	return 0;
}

/* The bug: the stack of a task that sleeps. */
int make_stack(struct shares_bugs_case *one)
{
	int i;

	/* With KASAN a stack has eight pages; the region is the first four. */
	BUILD_BUG_ON(THREAD_SIZE < SHARES_BUGS_REGION * PAGE_SIZE);
	if (one->sound) {
		one->kernel = vzalloc(THREAD_SIZE);
	} else {
		struct task_struct *task = kthread_run(sleep_on, NULL, "shares_bugs_nap");

		if (IS_ERR(task))
			return PTR_ERR(task);
		one->kernel = task_stack_page(task);
	}
	if (!is_vmalloc_addr(one->kernel))
		return one->kernel ? -EOPNOTSUPP : -ENOMEM;
	for (i = 0; i < SHARES_BUGS_REGION; i++) {
		one->pages[i] = vmalloc_to_page(one->kernel + i * PAGE_SIZE);
		one->given[i] = one->pages[i];
	}
	return 0;
}

/* The bug: a page of shares_other.ko, which does not share it with this driver. */
int make_others(struct shares_bugs_case *one)
{
	if (one->sound) {
		one->kernel = vzalloc(PAGE_SIZE);
		if (!one->kernel)
			return -ENOMEM;
		one->pages[0] = vmalloc_to_page(one->kernel);
	} else {
		if (!pfn_valid(one->frame))
			return -EINVAL;
		one->pages[0] = pfn_to_page(one->frame);
		one->kernel = page_address(one->pages[0]);
	}
	one->given[0] = one->pages[0];
	return 0;
}

/* Pins and maps a page of the caller, as drivers do. Nothing is wrong with it. */
int shares_bugs_pin(__u64 __user *at)
{
	struct page *page;
	void *kernel;
	__u64 address;

	if (get_user(address, at))
		return -EFAULT;
	if (pin_user_pages_fast(address, 1, FOLL_WRITE | FOLL_LONGTERM, &page) != 1)
		return -EFAULT;
	kernel = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	if (!kernel)
		return -ENOMEM;
	return put_user((uintptr_t)kernel, at);
}
