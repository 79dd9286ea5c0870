// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes virtual machines, runs a few instructions in them, and sleeps with their vcpus mapped.
 *
 *   shares_kvm OUTPUT
 *
 * KVM writes "Port", "Mmio", "Ring" and the number of a dirty page to the pages.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "shares_maps.h"

#define CODE 0x1000		/* guest-physical, the slot's first page */
#define DATA 0x2000
#define MMIO 0x8000
#define COALESCED 0x9000
#define TSS 0xfffbd000		/* Intel CPUs need it in real mode */
#define RUN_PAGES 3
#define RING_PAGES 4
#define RING_BYTES (RING_PAGES * PAGE)

/* KVM writes only before this in each page: kvm_run is shorter, and rings never get that full. */
#define FREE 3968

static int kvm;

/* Real mode; each operand has 32 bits. */
static const unsigned char program[] = {
	0x66, 0xc7, 0x06, 0x00, DATA >> 8, 'D', 'a', 't', 'a',		/* movl to memory */
	0x66, 0xc7, 0x06, 0x00, COALESCED >> 8, 'R', 'i', 'n', 'g',	/* movl to the MMIO ring */
	0x66, 0xb8, 'P', 'o', 'r', 't',					/* movl to eax */
	0x66, 0xe7, 0x10,						/* outl to port 0x10 */
	0x66, 0xc7, 0x06, 0x00, MMIO >> 8, 'M', 'm', 'i', 'o',		/* movl to a device */
	0xf4,								/* hlt */
};

static int vm_ioctl(int fd, unsigned long request, void *argument, const char *what)
{
	return checked_fd(ioctl(fd, request, argument), what);
}

static int new_vm(uint64_t ring_bytes)
{
	struct kvm_enable_cap ring = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { ring_bytes } };
	struct kvm_coalesced_mmio_zone zone = { .addr = COALESCED, .size = PAGE };
	struct kvm_userspace_memory_region memory = {
		.flags = ring_bytes ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = CODE,
		.memory_size = 2 * PAGE,
	};
	int vm = checked_fd(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	char *pages = checked(mmap(NULL, 2 * PAGE, READ_WRITE, PRIVATE, -1, 0), "memory");

	checked_fd(ioctl(vm, KVM_SET_TSS_ADDR, TSS), "KVM_SET_TSS_ADDR");
	if (ring_bytes)
		vm_ioctl(vm, KVM_ENABLE_CAP, &ring, "KVM_CAP_DIRTY_LOG_RING");
	memcpy(pages, program, sizeof(program));
	memory.userspace_addr = (uintptr_t)pages;
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &memory, "KVM_SET_USER_MEMORY_REGION");
	vm_ioctl(vm, KVM_REGISTER_COALESCED_MMIO, &zone, "KVM_REGISTER_COALESCED_MMIO");
	return vm;
}

static int new_vcpu(int vm, unsigned long number)
{
	int vcpu = checked_fd(ioctl(vm, KVM_CREATE_VCPU, number), "KVM_CREATE_VCPU");
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	vm_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	vm_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	vm_ioctl(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
	return vcpu;
}

static void run_until(int vcpu, const struct kvm_run *run, uint32_t reason)
{
	checked_fd(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	if (run->exit_reason == reason)
		return;
	fprintf(stderr, "Error: the vcpu stopped for %u, not %u; suberror %u\n", run->exit_reason,
		reason, run->internal.suberror);
	exit(1);
}

/* Part of a vcpu, untouched. The region includes the ring if there is one. */
static struct region mapped(const char *label, int vcpu, size_t pages, size_t first_page,
			    size_t ring_pages, int flags)
{
	void *address = checked(mmap(NULL, pages * PAGE, READ_WRITE, flags, vcpu,
				     (off_t)first_page * PAGE), label);
	struct region region = region_at(label, "kvm", "", address, pages);

	region.first_page = first_page;
	region.region_pages = ring_pages ? KVM_DIRTY_LOG_PAGE_OFFSET + ring_pages : RUN_PAGES;
	region.offset = FREE;
	return region;
}

static void read_page(struct region *region, size_t page)
{
	(void)*(volatile char *)(region->address + page * PAGE);
	region->touched |= 1ULL << page;
}

/* All pages of a vcpu whose program runs until it writes to the device. */
static struct region ran(const char *label, int vcpu, size_t ring_pages)
{
	struct region region = mapped(label, vcpu, RUN_PAGES, 0, ring_pages, MAP_SHARED);
	const struct kvm_run *run = (struct kvm_run *)region.address;

	write_pages(&region, 0x7);
	run_until(vcpu, run, KVM_EXIT_IO);
	run_until(vcpu, run, KVM_EXIT_MMIO);
	return region;
}

/* The second vcpu never ran. It has the same ring of coalesced MMIO as the first one. */
static void vcpus_of_one_vm(void)
{
	int vm = new_vm(0);
	struct region region = ran("ran", new_vcpu(vm, 0), 0);

	report(&region);
	region = mapped("beside", new_vcpu(vm, 1), RUN_PAGES, 0, 0, MAP_SHARED);
	write_pages(&region, 0x2);
	read_page(&region, 2);
	report(&region);
}

/* Two mappings, one of them from the middle on. Neither touches the last page. */
static void mapped_twice(void)
{
	int vcpu = new_vcpu(new_vm(0), 0);
	struct region region = mapped("whole", vcpu, RUN_PAGES, 0, 0, MAP_SHARED);

	write_pages(&region, 0x1);
	report(&region);
	region = mapped("part", vcpu, RUN_PAGES - 1, 1, 0, MAP_SHARED);
	write_pages(&region, 0x1);
	report(&region);
}

static void replaced(void)
{
	struct region region = mapped("replaced", new_vcpu(new_vm(0), 0), RUN_PAGES, 0, 0,
				      MAP_SHARED);

	write_pages(&region, 0x7);
	replace_page(&region, 1);
}

/* KVM allows a private mapping: a write gets a copy. The first page is only read. */
static void private_copy(void)
{
	struct region region = mapped("private", new_vcpu(new_vm(0), 0), RUN_PAGES, 0, 0,
				      MAP_PRIVATE);

	read_page(&region, 0);
	region.address[PAGE] = 'x';
	report(&region);
}

/* The ring has its own offset in the file. It is mapped alone, and with everything before it. */
static void dirty_ring(void)
{
	size_t all = KVM_DIRTY_LOG_PAGE_OFFSET + RING_PAGES;
	struct region region;
	int vcpu;

	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING) < RING_BYTES)
		return;
	vcpu = new_vcpu(new_vm(RING_BYTES), 0);
	region = ran("ran-with-ring", vcpu, RING_PAGES);
	report(&region);
	region = mapped("ring", vcpu, RING_PAGES, KVM_DIRTY_LOG_PAGE_OFFSET, RING_PAGES,
			MAP_SHARED);
	write_pages(&region, 0xb);
	report(&region);
	region = mapped("all", vcpu, all, 0, RING_PAGES, MAP_SHARED);
	read_page(&region, 0);
	report(&region);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	kvm = checked_fd(open("/dev/kvm", O_RDWR), "/dev/kvm");
	begin(argv[1]);
	vcpus_of_one_vm();
	mapped_twice();
	replaced();
	private_copy();
	dirty_ring();
	end(argv[1]);
}
