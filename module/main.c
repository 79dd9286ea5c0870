// SPDX-License-Identifier: GPL-2.0
/*
 * umh_shm: memory shared between the kernel and a user-mode helper that is
 * embedded in the module.
 *
 *   region.c    the memory            proto.c     requests through its slots
 *   chrdev.c    /dev/umh_shm          sysfs.c     /sys/class/misc/umh_shm
 *   launch.c    starts the process    debugfs.c   /sys/kernel/debug/umh_shm
 *   helper.c    restarts and stops it helper_blob.S   its program
 *
 * The running helper keeps the device open, which pins the module: write 1 to
 * /sys/class/misc/umh_shm/stop before rmmod.
 */
#include <linux/module.h>

#include "umh_shm.h"

static int __init umh_shm_init(void)
{
	int err;

	err = umh_shm_region_init(&umh_shm_region);
	if (err)
		return err;
	err = umh_shm_proto_init(&umh_shm_region);
	if (err)
		goto err_region;
	err = umh_shm_helper_init(&umh_shm_misc);
	if (err)
		goto err_proto;
	err = umh_shm_chrdev_init();
	if (err)
		goto err_helper;
	umh_shm_debugfs_init();
	/*
	 * Processes may have our files open from here on, so init must not
	 * fail any more. If insmod is killed here, the helper stays stopped.
	 */
	umh_shm_helper_start();
	return 0;

err_helper:
	umh_shm_helper_exit();
err_proto:
	umh_shm_proto_exit();
err_region:
	umh_shm_region_free(&umh_shm_region);
	return err;
}

static void __exit umh_shm_exit(void)
{
	/* Remove the interfaces first: a start after the stop would launch a new helper. */
	umh_shm_debugfs_exit();
	umh_shm_chrdev_exit();
	umh_shm_helper_exit();
	umh_shm_proto_exit();
	umh_shm_region_free(&umh_shm_region);
}

module_init(umh_shm_init);
module_exit(umh_shm_exit);

MODULE_DESCRIPTION("Memory shared with a user-mode helper");
MODULE_AUTHOR("The pageproof project");
MODULE_LICENSE("GPL");
