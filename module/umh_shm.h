/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Internal header: shared types, then the prototypes file by file.
 *
 * Calls go down only: main -> debugfs, chrdev -> sysfs -> helper -> launch, proto
 * -> region (tests/setup/test_module_layers.py). launch.c calls back through
 * struct umh_shm_launch_ops.
 */
#ifndef UMH_SHM_H
#define UMH_SHM_H

#include <linux/atomic.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/sysfs.h>
#include <linux/types.h>

#include "umh_shm_abi.h"

/* Parameter "backing": which allocator provides the memory. */
enum umh_shm_backing {
	UMH_SHM_BACKING_KZALLOC,	/* kzalloc(): slab or large kmalloc */
	UMH_SHM_BACKING_PAGES,		/* alloc_pages_exact(): one reference per page */
	UMH_SHM_BACKING_VMALLOC,	/* vmalloc_user(): not contiguous */
};

/* Parameter "map": how the pages get into an address space. */
enum umh_shm_map {
	UMH_SHM_MAP_REMAP,		/* remap_pfn_range() at mmap */
	UMH_SHM_MAP_FAULT,		/* vmf_insert_pfn(), page by page */
	UMH_SHM_MAP_INSERT,		/* vm_insert_page() at mmap */
};

/* The shared memory. Constant after load, except live_mappings. */
struct umh_shm_region {
	void *kaddr;			/* kernel address, page aligned */
	unsigned long length;		/* bytes, whole pages */
	unsigned long nr_pages;		/* also the number of slots */
	enum umh_shm_backing backing;
	enum umh_shm_map map;
	atomic_t live_mappings;		/* VMAs of the region, in all processes */
};

/* An answer, copied out of the region and checked. */
struct umh_shm_reply {
	u32 len;			/* bytes in data, without the final NUL */
	char data[UMH_SHM_REPLY_MAX + 1];
};

/* Calls from launch.c back to its caller. */
struct umh_shm_launch_ops {
	/* In the new process, before it executes the program. */
	void (*adopt_current)(void);
	/* Once per launch: the process has exited, or there never was one. */
	void (*gone)(void);
};

/* region.c */
extern struct umh_shm_region umh_shm_region;
int umh_shm_region_init(struct umh_shm_region *region);
void umh_shm_region_free(struct umh_shm_region *region);
unsigned long umh_shm_region_pfn(const struct umh_shm_region *region, unsigned long index);
struct page *umh_shm_region_page(const struct umh_shm_region *region, unsigned long index);
const char *umh_shm_backing_name(enum umh_shm_backing which);
const char *umh_shm_map_name(enum umh_shm_map which);

static inline struct umh_shm_slot *
umh_shm_region_slot(const struct umh_shm_region *region, u32 index)
{
	return region->kaddr + (size_t)index * PAGE_SIZE;
}

/* chrdev.c */
extern struct miscdevice umh_shm_misc;
int umh_shm_chrdev_init(void);
void umh_shm_chrdev_exit(void);

/* helper.c */
int umh_shm_helper_init(const struct miscdevice *device);
void umh_shm_helper_exit(void);
int umh_shm_helper_start(void);
int umh_shm_helper_stop(void);
int umh_shm_helper_health(void);
int umh_shm_helper_request(u32 id, const void *payload, size_t len, const char *word,
			   struct umh_shm_reply *reply);
bool umh_shm_helper_is_current(void);
bool umh_shm_helper_dismissed(void);
pid_t umh_shm_helper_pid(void);
unsigned int umh_shm_helper_restarts(void);
const char *umh_shm_helper_state(void);

/* launch.c */
int umh_shm_launch_init(const struct miscdevice *device, const struct umh_shm_launch_ops *ops);
void umh_shm_launch_exit(void);
int umh_shm_launch(void);

/* proto.c */
int umh_shm_proto_init(const struct umh_shm_region *region);
void umh_shm_proto_exit(void);
int umh_shm_proto_request(u32 id, const void *payload, size_t len, const char *word,
			  struct umh_shm_reply *reply);
bool umh_shm_proto_pending(void);
unsigned int umh_shm_proto_take(u32 *slots, unsigned int max);
void umh_shm_proto_give_back(const u32 *slots, unsigned int nr);
int umh_shm_proto_bell(u32 slot);
void umh_shm_proto_peer_gone(void);
void umh_shm_proto_wake_readers(void);
struct wait_queue_head *umh_shm_proto_readers(void);
void umh_shm_proto_last_reply(struct umh_shm_reply *reply);

/* sysfs.c */
extern const struct attribute_group *umh_shm_groups[];

/* debugfs.c */
void umh_shm_debugfs_init(void);
void umh_shm_debugfs_exit(void);

/* helper_blob.S */
extern const char umh_shm_helper_blob[];
extern const char umh_shm_helper_blob_end[];

#endif /* UMH_SHM_H */
