// SPDX-License-Identifier: GPL-2.0
/* Attributes in /sys/class/misc/umh_shm: one value per file. */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "umh_shm.h"

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", umh_shm_helper_state());
}
static DEVICE_ATTR_RO(state);

static ssize_t helper_pid_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", umh_shm_helper_pid());
}
static DEVICE_ATTR_RO(helper_pid);

static ssize_t restarts_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", umh_shm_helper_restarts());
}
static DEVICE_ATTR_RO(restarts);

static ssize_t length_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", umh_shm_region.length);
}
static DEVICE_ATTR_RO(length);

static ssize_t backing_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", umh_shm_backing_name(umh_shm_region.backing));
}
static DEVICE_ATTR_RO(backing);

static ssize_t map_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", umh_shm_map_name(umh_shm_region.map));
}
static DEVICE_ATTR_RO(map);

static ssize_t live_mappings_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&umh_shm_region.live_mappings));
}
static DEVICE_ATTR_RO(live_mappings);

/* The helper controls these bytes: printed escaped, cut at a page, for root only. */
static ssize_t last_reply_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct umh_shm_reply *reply;
	ssize_t len;

	reply = kmalloc(sizeof(*reply), GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	umh_shm_proto_last_reply(reply);
	len = sysfs_emit(buf, "%*pE\n", (int)reply->len, reply->data);
	kfree(reply);
	return len;
}
static DEVICE_ATTR_ADMIN_RO(last_reply);

/*
 * 1: stop the helper, before rmmod; returns when it is gone. 0: launch it again.
 * EBUSY: a stopped helper is not gone yet.
 */
static ssize_t stop_store(struct device *dev, struct device_attribute *attr,
			  const char *buf, size_t count)
{
	bool stop;
	int err;

	err = kstrtobool(buf, &stop);
	if (err)
		return err;
	err = stop ? umh_shm_helper_stop() : umh_shm_helper_start();
	return err ?: count;
}
static DEVICE_ATTR_WO(stop);

/* 1: run a health check now; the write returns its error. */
static ssize_t health_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	bool check;
	int err;

	err = kstrtobool(buf, &check);
	if (err)
		return err;
	if (!check)
		return -EINVAL;
	err = umh_shm_helper_health();
	return err ?: count;
}
static DEVICE_ATTR_WO(health);

static struct attribute *umh_shm_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_helper_pid.attr,
	&dev_attr_restarts.attr,
	&dev_attr_length.attr,
	&dev_attr_backing.attr,
	&dev_attr_map.attr,
	&dev_attr_live_mappings.attr,
	&dev_attr_last_reply.attr,
	&dev_attr_stop.attr,
	&dev_attr_health.attr,
	NULL
};

static const struct attribute_group umh_shm_group = {
	.attrs = umh_shm_attrs,
};

const struct attribute_group *umh_shm_groups[] = {
	&umh_shm_group,
	NULL
};
