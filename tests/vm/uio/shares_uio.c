// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A UIO device with a map of each kind of memory, for the tests: a page, vmalloc() memory, and a
 * page by its physical address. Each page begins with its own label.
 */
#include <linux/device.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/uio_driver.h>
#include <linux/vmalloc.h>

#define VIRTUAL_PAGES 3

static struct device *parent;
static void *logical, *vmalloced, *physical;

static struct uio_info info = {
	.name = "shares_uio",
	.version = "1",
	.irq = UIO_IRQ_NONE,
};

static void add_map(int map, const char *name, int memtype, phys_addr_t addr, void *pages,
		    int count)
{
	int page;

	for (page = 0; page < count; page++)
		snprintf(pages + page * PAGE_SIZE, PAGE_SIZE, "shares_uio map %d page %d", map,
			 page);
	info.mem[map].name = name;
	info.mem[map].memtype = memtype;
	info.mem[map].addr = addr;
	info.mem[map].size = count * PAGE_SIZE;
}

static void free_memory(void)
{
	free_page((unsigned long)physical);
	vfree(vmalloced);
	free_page((unsigned long)logical);
}

static int __init shares_uio_init(void)
{
	int err = -ENOMEM;

	logical = (void *)get_zeroed_page(GFP_KERNEL);
	vmalloced = vmalloc_user(VIRTUAL_PAGES * PAGE_SIZE);
	physical = (void *)get_zeroed_page(GFP_KERNEL);
	if (!logical || !vmalloced || !physical)
		goto err_free;
	add_map(0, "logical", UIO_MEM_LOGICAL, (phys_addr_t)(uintptr_t)logical, logical, 1);
	add_map(1, "virtual", UIO_MEM_VIRTUAL, (phys_addr_t)(uintptr_t)vmalloced, vmalloced,
		VIRTUAL_PAGES);
	add_map(2, "physical", UIO_MEM_PHYS, virt_to_phys(physical), physical, 1);

	parent = root_device_register("shares_uio");
	if (IS_ERR(parent)) {
		err = PTR_ERR(parent);
		goto err_free;
	}
	err = uio_register_device(parent, &info);
	if (err)
		goto err_parent;
	return 0;

err_parent:
	root_device_unregister(parent);
err_free:
	free_memory();
	return err;
}

static void __exit shares_uio_exit(void)
{
	uio_unregister_device(&info);
	root_device_unregister(parent);
	free_memory();
}

module_init(shares_uio_init);
module_exit(shares_uio_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("UIO memory of each kind, for tests");
