// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two pages of vmalloc(), and another area behind them. A mapping has the first page again in
 * place of the guard page, and then the pages of the other area.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "named.h"

#define AREA_PAGES 2
#define TRIES 64	/* to get two adjacent areas */

/* fs/char_dev.c has a variable of this name too. */
static void *cdev_map;
/* Another file of this module has one too. */
static void *twice __used;
static void *tried[2 * TRIES];

static int area_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long page;
	int err = 0;

	for (page = 0; !err && page < vma_pages(vma); page++) {
		unsigned long pfn = vmalloc_to_pfn(page == AREA_PAGES ? cdev_map :
						   cdev_map + page * PAGE_SIZE);

		err = remap_pfn_range(vma, vma->vm_start + page * PAGE_SIZE, pfn, PAGE_SIZE,
				      vma->vm_page_prot);
	}
	return err;
}

static const struct file_operations area_fops = {
	.owner	= THIS_MODULE,
	.mmap	= area_mmap,
};

struct miscdevice shares_named_area = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "shares_named_area",
	.fops	= &area_fops,
	.mode	= 0600,
};

static void free_areas(void)
{
	int i;

	for (i = 0; i < 2 * TRIES; i++)
		vfree(tried[i]);
}

int shares_named_area_init(void)
{
	int err = -EAGAIN;
	int i, page;

	for (i = 0; i < TRIES && !cdev_map; i++) {
		tried[2 * i] = vzalloc(AREA_PAGES * PAGE_SIZE);
		tried[2 * i + 1] = vzalloc(PAGE_SIZE);
		if (tried[2 * i] &&
		    tried[2 * i + 1] == tried[2 * i] + (AREA_PAGES + 1) * PAGE_SIZE)
			cdev_map = tried[2 * i];
	}
	twice = cdev_map;
	if (cdev_map) {
		for (page = 0; page < AREA_PAGES; page++)
			snprintf(twice + page * PAGE_SIZE, PAGE_SIZE, "shares_named area %d", page);
		err = misc_register(&shares_named_area);
	}
	if (err)
		free_areas();
	return err;
}

void shares_named_area_exit(void)
{
	misc_deregister(&shares_named_area);
	free_areas();
}
