// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A page for each open file, with a counter that the kernel and a program increment in turns, so
 * that the tests know each access to it. file->private_data points at the page.
 */
#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "shares_counter_abi.h"

static atomic_t opened;

static noinline __noclone void shares_counter_kernel_adds(struct shares_counter_page *page)
{
	WRITE_ONCE(page->count, READ_ONCE(page->count) + 1);
	WRITE_ONCE(page->turn, SHARES_COUNTER_USER);
}

/* One round in an interrupt. */
struct round {
	struct shares_counter_page *page;
	struct tasklet_struct tasklet;
	struct irq_work work;
};

static void add_in_softirq(struct tasklet_struct *tasklet)
{
	shares_counter_kernel_adds(container_of(tasklet, struct round, tasklet)->page);
}

static void add_in_hardirq(struct irq_work *work)
{
	shares_counter_kernel_adds(container_of(work, struct round, work)->page);
}

static long shares_counter_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct round round = { .page = file->private_data };

	if (cmd != SHARES_COUNTER_ADD)
		return -ENOTTY;
	switch (arg) {
	case SHARES_COUNTER_TASK:
		shares_counter_kernel_adds(round.page);
		return 0;
	case SHARES_COUNTER_SOFTIRQ:
		tasklet_setup(&round.tasklet, add_in_softirq);
		tasklet_schedule(&round.tasklet);
		tasklet_kill(&round.tasklet);
		return 0;
	case SHARES_COUNTER_HARDIRQ:
		init_irq_work(&round.work, add_in_hardirq);
		irq_work_queue(&round.work);
		irq_work_sync(&round.work);
		return 0;
	default:
		return -EINVAL;
	}
}

static int shares_counter_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma_pages(vma) != 1 || vma->vm_pgoff)
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, virt_to_page(file->private_data));
}

static int shares_counter_open(struct inode *inode, struct file *file)
{
	struct shares_counter_page *page = (void *)get_zeroed_page(GFP_KERNEL);

	if (!page)
		return -ENOMEM;
	snprintf(page->text, sizeof(page->text), "page %d", atomic_inc_return(&opened));
	file->private_data = page;
	return 0;
}

static int shares_counter_release(struct inode *inode, struct file *file)
{
	free_page((unsigned long)file->private_data);
	return 0;
}

static const struct file_operations shares_counter_fops = {
	.owner		= THIS_MODULE,
	.open		= shares_counter_open,
	.release	= shares_counter_release,
	.mmap		= shares_counter_mmap,
	.unlocked_ioctl	= shares_counter_ioctl,
};

static struct miscdevice shares_counter_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "shares_counter",
	.fops	= &shares_counter_fops,
	.mode	= 0600,
};

module_misc_device(shares_counter_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A counter that kernel and user space increment in turns, for tests");
