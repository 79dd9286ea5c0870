// SPDX-License-Identifier: GPL-2.0
/*
 * Creates the helper's process.
 *
 * The program is in an unlinked tmpfs file and is executed through
 * /proc/self/fd/0, so no file on disk is needed. The helper starts with three
 * open files (UMH_SHM_FD_*). One of them is its leash. No other process has it,
 * so its release means that the helper is gone, for whatever reason. Waiting for
 * the process instead (UMH_WAIT_PROC) would block suspend while the helper
 * lives. The device is passed as an open file too, so that the helper needs no
 * node in /dev.
 */
#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/major.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/shmem_fs.h>
#include <linux/umh.h>

#include "umh_shm.h"

/* Constant after load. */
static struct file *program;
static const struct miscdevice *device;
static const struct umh_shm_launch_ops *ops;

static int leash_release(struct inode *inode, struct file *file)
{
	ops->gone();
	return 0;
}

static const struct file_operations leash_fops = {
	.owner		= THIS_MODULE,
	.release	= leash_release,
};

/* Files passed to the new process, by descriptor. */
struct launch_files {
	struct file *file[3];
};

/* Runs in the new process, before it executes the program. */
static int install_files(struct subprocess_info *info, struct cred *new)
{
	struct launch_files *files = info->data;
	int i, fd;

	ops->adopt_current();
	for (i = 0; i < ARRAY_SIZE(files->file); i++) {
		fd = get_unused_fd_flags(0);
		if (fd < 0)
			return fd;
		if (fd != i) {
			put_unused_fd(fd);
			return -EBUSY;
		}
		fd_install(fd, files->file[i]);
		files->file[i] = NULL;
	}
	return 0;
}

static int open_files(struct launch_files *files)
{
	struct file *file;

	file = anon_inode_getfile("[umh_shm_leash]", &leash_fops, NULL, O_RDONLY);
	if (IS_ERR(file))
		return PTR_ERR(file);
	files->file[UMH_SHM_FD_LEASH] = file;

	file = anon_inode_getfile("[umh_shm]", device->fops, &umh_shm_region, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);
	files->file[UMH_SHM_FD_DEVICE] = file;

	files->file[UMH_SHM_FD_PROGRAM] = get_file(program);
	return 0;
}

static int execute(struct launch_files *files)
{
	char number[24], length[24];
	char *argv[4] = { UMH_SHM_HELPER_COMM, number, length, NULL };
	char *envp[1] = { NULL };
	struct subprocess_info *info;
	int err;

	snprintf(number, sizeof(number), "%d:%d", MISC_MAJOR, device->minor);
	snprintf(length, sizeof(length), "%lu", umh_shm_region.length);
	info = call_usermodehelper_setup("/proc/self/fd/0", argv, envp, GFP_KERNEL,
					 install_files, NULL, files);
	if (!info)
		return -ENOMEM;
	/* Returns when the program runs or has failed; argv and files are unused then. */
	err = call_usermodehelper_exec(info, UMH_WAIT_EXEC);
	if (err == -ENOENT)
		pr_err("cannot launch the helper: no /proc/self/fd/0, is /proc mounted?\n");
	return err;
}

/**
 * umh_shm_launch() - create the helper's process
 *
 * Each call leads to exactly one ops->gone(): when the process exits, or soon if
 * none was created.
 *
 * Return: 0 if the program runs, or a negative errno.
 */
int umh_shm_launch(void)
{
	struct launch_files files = {};
	bool leashed;
	int err, i;

	err = open_files(&files);
	leashed = files.file[UMH_SHM_FD_LEASH];
	if (!err)
		err = execute(&files);
	if (err)
		pr_err("cannot launch the helper: error %d\n", err);
	/* Files that were not passed on. */
	for (i = 0; i < ARRAY_SIZE(files.file); i++)
		if (files.file[i])
			fput(files.file[i]);
	if (!leashed)
		ops->gone();
	return err;
}

/**
 * umh_shm_launch_init() - copy the program out of the module's init section
 * @misc: device of the helper; it may be registered later, but before a launch
 * @calls: calls back to the owner of the process
 *
 * Return: 0 or a negative errno.
 */
int __init umh_shm_launch_init(const struct miscdevice *misc,
			       const struct umh_shm_launch_ops *calls)
{
	size_t size = umh_shm_helper_blob_end - umh_shm_helper_blob;
	struct file *file;
	loff_t pos = 0;
	ssize_t written;

	/* The kernel would execute its program instead of ours, with our files. */
	if (IS_ENABLED(CONFIG_STATIC_USERMODEHELPER)) {
		pr_err("cannot launch the helper: the kernel has CONFIG_STATIC_USERMODEHELPER\n");
		return -EOPNOTSUPP;
	}
	file = shmem_file_setup(UMH_SHM_HELPER_COMM, size, EMPTY_VMA_FLAGS);
	if (IS_ERR(file))
		return PTR_ERR(file);
	written = kernel_write(file, umh_shm_helper_blob, size, &pos);
	if (written != size) {
		fput(file);
		return written < 0 ? written : -ENOSPC;
	}
	/* Read-only, so that the helper cannot change its own program. */
	device = misc;
	ops = calls;
	program = dentry_open(&file->f_path, O_RDONLY | O_LARGEFILE, current_cred());
	fput(file);
	return PTR_ERR_OR_ZERO(program);
}

void umh_shm_launch_exit(void)
{
	fput(program);
}
