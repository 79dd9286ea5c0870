// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Devices with real bugs, for the tests of pageproof. Never load it where anything matters: it
 * corrupts memory on purpose, and frees nothing.
 *
 * First the table of the bugs, then the device: a sound driver except for the bug.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "shares_bugs.h"

/* A bug in the frames that mmap() maps. */
#define FRAMES(function)	{ .make = function, .map = map_inserted }

static const struct shares_bugs_kind kinds[] = {
	[SHARES_BUGS_WRONG_FRAME] = FRAMES(make_wrong_frame),
	[SHARES_BUGS_WRONG_ORDER] = FRAMES(make_wrong_order),
	[SHARES_BUGS_OFF_BY_ONE] = FRAMES(make_off_by_one),
	[SHARES_BUGS_CONTIGUOUS] = FRAMES(make_scattered),
	[SHARES_BUGS_PARTIAL] = FRAMES(make_partial),
	[SHARES_BUGS_LENGTH] = {
		.make = make_block, .map = map_remapped, .unchecked = SHARES_BUGS_ANY_RANGE,
	},
	[SHARES_BUGS_OFFSET] = {
		.make = make_block, .map = map_remapped, .unchecked = SHARES_BUGS_ANY_RANGE,
	},
	[SHARES_BUGS_GROWN] = {
		.make = make_block, .map = map_by_fault, .unchecked = SHARES_BUGS_ANY_RANGE,
		.lacks = VM_DONTEXPAND,
	},
	[SHARES_BUGS_PRIVATE] = {
		.make = make_block, .map = map_by_fault, .unchecked = SHARES_BUGS_ANY_PRIVATE,
	},
	[SHARES_BUGS_ZERO_PAGE] = {
		.make = make_zero_page, .map = map_remapped,
	},

	[SHARES_BUGS_FREED] = {
		.make = make_unsplit, .map = map_remapped, .spoil = spoil_freed,
	},
	[SHARES_BUGS_FREED_SLAB] = {
		.make = make_single, .map = map_remapped, .spoil = spoil_freed_slab,
	},
	[SHARES_BUGS_FREED_ANON] = {
		.make = make_movable, .map = map_remapped, .spoil = spoil_freed_single,
	},
	[SHARES_BUGS_FREED_CACHE] = {
		.make = make_movable, .map = map_remapped, .spoil = spoil_freed_single,
	},
	[SHARES_BUGS_POISONED] = {
		.make = make_block, .map = map_inserted, .spoil = spoil_poisoned,
	},
	[SHARES_BUGS_REFERENCE] = {
		.make = make_block, .map = map_inserted, .spoil = spoil_reference,
	},
	[SHARES_BUGS_TAILS] = {
		.make = make_tails, .map = map_by_fault,
	},
	[SHARES_BUGS_MAPCOUNT] = {
		.make = make_block, .map = map_inserted, .spoil = spoil_mapcount,
	},
	[SHARES_BUGS_OPERATIONS] = {
		.make = make_block, .map = map_borrowed,
	},
	[SHARES_BUGS_REGION_FREED] = {
		.make = make_block, .map = map_inserted, .spoil = spoil_region,
	},
	[SHARES_BUGS_OBJECT_FREED] = {
		.make = make_object, .map = map_remapped, .spoil = spoil_object,
	},
	[SHARES_BUGS_SUB_PAGE] = {
		.make = make_sub_page, .map = map_remapped,
	},
	[SHARES_BUGS_INHERITED] = {
		.device = SHARES_BUGS_NO_CHILD,
		.make = make_block, .map = map_inserted, .lacks = VM_DONTCOPY,
	},
	[SHARES_BUGS_MAY_INHERIT] = {
		.device = SHARES_BUGS_NO_CHILD,
		.make = make_block, .map = map_inserted, .lacks = VM_DONTCOPY,
	},

	[SHARES_BUGS_WRITABLE] = {
		.device = SHARES_BUGS_READ_ONLY, .read_only = true,
		.make = make_block, .map = map_inserted,
		.unchecked = SHARES_BUGS_ANY_WRITE, .leaves = VM_MAYWRITE,
	},
	[SHARES_BUGS_MAY_WRITE] = {
		.device = SHARES_BUGS_READ_ONLY, .read_only = true,
		.make = make_block, .map = map_inserted, .leaves = VM_MAYWRITE,
	},
	[SHARES_BUGS_EXECUTABLE] = {
		.make = make_block, .map = map_inserted,
		.unchecked = SHARES_BUGS_ANY_EXEC, .leaves = VM_MAYEXEC,
	},
	[SHARES_BUGS_MAY_EXECUTE] = {
		.device = SHARES_BUGS_NO_EXEC,
		.make = make_block, .map = map_inserted, .leaves = VM_MAYEXEC,
	},
	[SHARES_BUGS_KERNEL_READS] = {
		.make = make_read_only_alias, .map = map_inserted, .read_only = true,
		.unchecked = SHARES_BUGS_ANY_WRITE, .leaves = VM_MAYWRITE,
	},
	[SHARES_BUGS_KERNEL_EXECUTES] = {
		.make = make_text, .map = map_remapped, .read_only = true,
		.unchecked = SHARES_BUGS_ANY_WRITE, .leaves = VM_MAYWRITE,
	},
	[SHARES_BUGS_KERNEL_OPEN] = {
		.make = make_open_alias, .map = map_inserted,
	},
	[SHARES_BUGS_USER_CLOSED] = {
		.make = make_block, .map = map_closed,
	},

	[SHARES_BUGS_UNCACHED] = {
		.make = make_uncached, .map = map_inserted,
	},
	[SHARES_BUGS_COMBINING] = {
		.make = make_combining, .map = map_inserted,
	},
	[SHARES_BUGS_PHYSMAP] = {
		.make = make_physmap_uncached, .map = map_inserted,
	},

	[SHARES_BUGS_RAW_FRAME] = {
		.make = make_block, .map = map_unmarked,
	},
	[SHARES_BUGS_BY_HAND] = {
		.make = make_block, .map = map_raw_by_fault,
		.lacks = VM_IO | VM_DONTEXPAND | VM_DONTDUMP,
	},

	[SHARES_BUGS_FREED_LISTED] = {
		.make = make_listed, .map = map_remapped, .spoil = spoil_freed_single,
	},
	[SHARES_BUGS_FREED_STACK] = {
		.make = make_freed_stack, .map = map_remapped, .spoil = spoil_freed_stack,
	},
	[SHARES_BUGS_STACK] = {
		.make = make_stack, .map = map_remapped,
	},
	[SHARES_BUGS_OTHERS] = {
		.make = make_others, .map = map_remapped,
	},
	[SHARES_BUGS_BEYOND_OBJECT] = {
		.make = make_beyond_object, .map = map_remapped,
	},
	[SHARES_BUGS_BEYOND_AREA] = {
		.make = make_beyond_area, .map = map_remapped,
	},
};

static bool does_check(const struct shares_bugs_case *one, unsigned int check)
{
	return one->sound || !(one->kind->unchecked & check);
}

static int refuse(const struct shares_bugs_case *one, struct vm_area_struct *vma)
{
	if (does_check(one, SHARES_BUGS_ANY_PRIVATE) && !(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (does_check(one, SHARES_BUGS_ANY_EXEC) && (vma->vm_flags & VM_EXEC))
		return -EACCES;
	if (one->kind->read_only && does_check(one, SHARES_BUGS_ANY_WRITE) &&
	    (vma->vm_flags & VM_WRITE))
		return -EACCES;
	/* Without the check of the bug the limit is the pages that exist. */
	if (vma->vm_pgoff + vma_pages(vma) >
	    (does_check(one, SHARES_BUGS_ANY_RANGE) ? SHARES_BUGS_REGION : SHARES_BUGS_PAGES))
		return -ENXIO;
	return 0;
}

static int shares_bugs_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct shares_bugs_case *one = file->private_data;
	vm_flags_t set = VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY;
	vm_flags_t clear = VM_MAYEXEC;
	int err;

	if (!one)
		return -ENODEV;
	err = refuse(one, vma);
	if (err)
		return err;
	if (one->kind->read_only)
		clear |= VM_MAYWRITE;
	if (one->kind->map == map_raw_by_fault)
		set |= VM_IO;
	if (!one->sound) {
		set &= ~one->kind->lacks;
		clear &= ~one->kind->leaves;
	}
	vm_flags_mod(vma, set, clear);
	return one->kind->map(one, vma);
}

static int choose(struct file *file, const struct shares_bugs_choice __user *from)
{
	struct shares_bugs_choice choice;
	struct shares_bugs_case *one;
	int err;

	if (copy_from_user(&choice, from, sizeof(choice)))
		return -EFAULT;
	if (choice.number >= SHARES_BUGS_COUNT || choice.sound > 1)
		return -EINVAL;
	if (file->private_data)
		return -EBUSY;
	one = shares_bugs_case_alloc(choice.number == SHARES_BUGS_REGION_FREED);
	if (!one)
		return -ENOMEM;
	one->kind = &kinds[choice.number];
	one->sound = choice.sound;
	one->frame = choice.frame;
	err = one->kind->make(one);
	if (err)
		return err;
	file->private_data = one;
	return 0;
}

static int tell(const struct shares_bugs_case *one, struct shares_bugs_facts __user *to)
{
	struct shares_bugs_facts facts;
	int err;

	if (copy_from_user(&facts, to, sizeof(facts)))
		return -EFAULT;
	err = shares_bugs_tell(one, &facts);
	if (err)
		return err;
	return copy_to_user(to, &facts, sizeof(facts)) ? -EFAULT : 0;
}

static long shares_bugs_ioctl(struct file *file, unsigned int command, unsigned long word)
{
	struct shares_bugs_case *one = file->private_data;

	switch (command) {
	case SHARES_BUGS_CHOOSE:
		return choose(file, (const void __user *)word);
	case SHARES_BUGS_HAS_STACK:
		return shares_bugs_has_stack((const void __user *)word);
	case SHARES_BUGS_PIN:
		return shares_bugs_pin((void __user *)word);
	}
	if (!one)
		return -ENODEV;
	switch (command) {
	case SHARES_BUGS_SPOIL:
		return one->sound || !one->kind->spoil ? 0 : one->kind->spoil(one);
	case SHARES_BUGS_TELL:
		return tell(one, (void __user *)word);
	}
	return -ENOTTY;
}

/* misc_open() has stored its own device here. */
static int shares_bugs_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

/* No release: after a bug it is unknown what is freed and what reuses it. */
static const struct file_operations shares_bugs_fops = {
	.owner		= THIS_MODULE,
	.open		= shares_bugs_open,
	.unlocked_ioctl	= shares_bugs_ioctl,
	.mmap		= shares_bugs_mmap,
};

#define DEVICE(number, text) \
	[number] = { \
		.minor = MISC_DYNAMIC_MINOR, \
		.name = text, \
		.fops = &shares_bugs_fops, \
		.mode = 0600, \
	}

static struct miscdevice devices[SHARES_BUGS_DEVICES] = {
	DEVICE(SHARES_BUGS_PLAIN, "shares_bugs"),
	DEVICE(SHARES_BUGS_READ_ONLY, "shares_bugs_read_only"),
	DEVICE(SHARES_BUGS_NO_CHILD, "shares_bugs_no_child"),
	DEVICE(SHARES_BUGS_NO_EXEC, "shares_bugs_no_exec"),
};

static int __init shares_bugs_init(void)
{
	int err, number;

	err = shares_bugs_memory_init();
	if (!err)
		err = shares_bugs_spoil_init();
	for (number = 0; !err && number < SHARES_BUGS_DEVICES; number++)
		err = misc_register(&devices[number]);
	/* No cleanup after an error: the module has no exit either. */
	WARN_ON(err);
	return 0;
}

module_init(shares_bugs_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Bugs in memory that a driver shares, for tests");
