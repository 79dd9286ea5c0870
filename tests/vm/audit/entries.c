// SPDX-License-Identifier: GPL-2.0-or-later
/* Page-table entries, found and changed behind the kernel's back. */
#include <linux/io.h>
#include <linux/smp.h>
#include <linux/set_memory.h>

#include "bugs.h"

#define CR4_PGE		BIT(7)
#define CR4_LA57	BIT(12)

static unsigned long read_cr4(void)
{
	unsigned long value;

	asm volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}

static int levels(void)
{
	return read_cr4() & CR4_LA57 ? 5 : 4;
}

static u64 root(void)
{
	unsigned long value;

	asm volatile("mov %%cr3, %0" : "=r"(value));
	return value & ENTRY_ADDRESS;
}

static u64 *slot(u64 table, unsigned long address, int level)
{
	return (u64 *)__va(table) + (address >> (3 + 9 * level) & 511);
}

u64 *entry_at(unsigned long address, int level)
{
	u64 table = root();
	int at;

	for (at = levels(); at > level; at--) {
		u64 entry = READ_ONCE(*slot(table, address, at));

		if (!(entry & ENTRY_PRESENT) || (at <= 3 && entry & ENTRY_PSE))
			return NULL;
		table = entry & ENTRY_ADDRESS;
	}
	return slot(table, address, level);
}

u64 *leaf_of(unsigned long address)
{
	int level;

	for (level = 3; level >= 1; level--) {
		u64 *entry = entry_at(address, level);

		if (entry && *entry & ENTRY_PRESENT && (level == 1 || *entry & ENTRY_PSE))
			return entry;
	}
	return NULL;
}

u64 *physmap_entry(struct page *page)
{
	unsigned long address = (unsigned long)page_address(page);

	/* Changing the type and back leaves the page with an entry of its own. */
	if (set_memory_uc(address, 1) || set_memory_wb(address, 1))
		return NULL;
	return entry_at(address, 1);
}

/* Flushes the whole TLB with its global entries by toggling PGE (Intel SDM 3A 4.10.4.1). */
static void flush(void *unused)
{
	unsigned long flags, value;

	local_irq_save(flags);
	value = read_cr4();
	asm volatile("mov %0, %%cr4" : : "r"(value ^ CR4_PGE) : "memory");
	asm volatile("mov %0, %%cr4" : : "r"(value) : "memory");
	local_irq_restore(flags);
}

int change(struct bug *bug, u64 *entry, u64 value)
{
	if (!entry)
		return -EFAULT;
	bug->entry = entry;
	bug->before = *entry;
	WRITE_ONCE(*entry, value);
	on_each_cpu(flush, NULL, 1);
	return 0;
}

void restore(struct bug *bug)
{
	if (bug->entry) {
		WRITE_ONCE(*bug->entry, bug->before);
		on_each_cpu(flush, NULL, 1);
	}
	bug->entry = NULL;
}
