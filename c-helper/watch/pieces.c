// SPDX-License-Identifier: GPL-2.0-or-later
/* What debug registers can do, and what QEMU makes of them. */
#include "pieces.h"

#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>

/* The leaf in which a hypervisor names itself, if the CPU has the bit that says so. */
#define HYPERVISOR_LEAF 0x40000000
#define HYPERVISOR_BIT (1u << 31)
#endif

uint32_t watch_piece_bytes(uint64_t address, uint32_t length)
{
	uint32_t bytes = WATCH_REGISTER_BYTES;

	while (bytes > length || address % bytes)
		bytes /= 2;
	return bytes;
}

uint32_t watch_pieces(uint64_t address, uint32_t length)
{
	uint32_t pieces = 0;

	while (length) {
		uint32_t bytes = watch_piece_bytes(address, length);

		address += bytes;
		length -= bytes;
		pieces++;
	}
	return pieces;
}

bool watch_is_emulated(void)
{
#ifdef __x86_64__
	unsigned int eax, ebx, ecx, edx, name[3];

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & HYPERVISOR_BIT))
		return false;
	__cpuid(HYPERVISOR_LEAF, eax, name[0], name[1], name[2]);
	return !memcmp(name, "TCGTCGTCGTCG", sizeof(name));
#else
	return false;
#endif
}
