// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Real bugs for pageproof audit to find, in the page tables of the kernel and of the calling
 * process. Only for the guests of the tests: nothing here is safe.
 */
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bugs.h"

static DEFINE_MUTEX(lock);		/* protects all bugs */

/* kallsyms_lookup_name() is not exported since 5.7, but a kprobe finds it. */
unsigned long symbol(const char *name)
{
	static unsigned long (*lookup)(const char *name);
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };

	if (!lookup && !register_kprobe(&probe)) {
		lookup = (void *)probe.addr;
		unregister_kprobe(&probe);
	}
	return lookup ? lookup(name) : 0;
}

static struct bug *find(struct bug *bugs, const char *name)
{
	for (; bugs->name; bugs++) {
		if (!strcmp(bugs->name, name))
			return bugs;
	}
	return NULL;
}

static int set(struct bug *bug, int mode, unsigned long address)
{
	int err = 0;

	if (bug->mode != OFF)
		bug->off(bug);
	bug->mode = OFF;
	bug->place = 0;
	if (mode == BUG || mode == SOUND) {
		err = bug->on(bug, mode == SOUND, address);
		if (err)
			bug->off(bug);
		else
			bug->mode = mode;
	}
	return err;
}

static ssize_t bugs_write(struct file *file, const char __user *data, size_t length, loff_t *at)
{
	char text[80] = "", name[32];
	unsigned long address = 0;
	struct bug *bug;
	int mode, err;

	if (length >= sizeof(text) || copy_from_user(text, data, length))
		return -EINVAL;
	if (sscanf(text, "%31s %d %lx", name, &mode, &address) < 2)
		return -EINVAL;
	bug = find(kernel_bugs, name) ?: find(user_bugs, name);
	if (!bug)
		return -ENOENT;
	mutex_lock(&lock);
	err = set(bug, mode, address);
	mutex_unlock(&lock);
	return err ? err : (ssize_t)length;
}

static int list(char *text, size_t room, const struct bug *bugs)
{
	int length = 0;

	for (; bugs->name; bugs++)
		length += scnprintf(text + length, room - length, "%s %d %lx\n", bugs->name,
				    bugs->mode, bugs->place);
	return length;
}

static ssize_t bugs_read(struct file *file, char __user *data, size_t room, loff_t *at)
{
	char *text = kzalloc(PAGE_SIZE, GFP_KERNEL);
	ssize_t length;

	if (!text)
		return -ENOMEM;
	mutex_lock(&lock);
	length = list(text, PAGE_SIZE, kernel_bugs);
	length += list(text + length, PAGE_SIZE - length, user_bugs);
	mutex_unlock(&lock);
	length = simple_read_from_buffer(data, room, at, text, length);
	kfree(text);
	return length;
}

static const struct file_operations bugs_fops = {
	.owner = THIS_MODULE,
	.read = bugs_read,
	.write = bugs_write,
	.mmap = bugs_mmap,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "audit_bugs",
	.fops = &bugs_fops,
};

static int __init bugs_init(void)
{
	int err = user_init();

	if (!err)
		err = misc_register(&device);
	if (err)
		user_exit();
	return err;
}

static void __exit bugs_exit(void)
{
	struct bug *bug;

	misc_deregister(&device);
	for (bug = kernel_bugs; bug->name; bug++)
		set(bug, OFF, 0);
	for (bug = user_bugs; bug->name; bug++)
		set(bug, OFF, 0);
	user_exit();
}

module_init(bugs_init);
module_exit(bugs_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Bugs for pageproof audit to find");
