// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process with an LDT, which returns from interrupts to a 16-bit stack segment.
 *
 *   segments OUTPUT
 *
 * Such a return uses the espfix stack of its CPU (arch/x86/entry/entry_64.S, native_irq_return_ldt).
 * With PTI its LDT is mapped at the LDT remap. OUTPUT gets JSON when a return has been seen. The
 * process goes on until it is killed.
 */
#include <asm/ldt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SELECTOR	((0 << 3) | 4 | 3)	/* entry 0 of the LDT, for user mode */
#define SPINS		20000000UL		/* longer than the time between two ticks */

/* Spins with the segment in SS. Returns SS at the end: system calls change it, interrupts do not. */
static unsigned int spin(void)
{
	unsigned int ss = SELECTOR;
	unsigned long left = SPINS;

	asm volatile("mov %w0, %%ss\n"
		     "1: dec %1\n"
		     "jnz 1b\n"
		     "mov %%ss, %w0\n"
		     : "+r"(ss), "+r"(left));
	return ss & 0xffff;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char *argv[])
{
	struct user_desc stack = { .limit = 0xffff, .useable = 1 };	/* 16-bit data */
	char part[256];
	double seconds;
	unsigned int ss;
	FILE *output;

	if (argc != 2) {
		fprintf(stderr, "usage: segments OUTPUT\n");
		return 2;
	}
	if (syscall(SYS_modify_ldt, 1, &stack, sizeof(stack))) {
		perror("Error: modify_ldt");
		return 1;
	}
	seconds = now();
	ss = spin();
	seconds = now() - seconds;
	if (ss != SELECTOR) {
		fprintf(stderr, "Error: SS is %#x\n", ss);
		return 1;
	}
	snprintf(part, sizeof(part), "%s.part", argv[1]);
	output = fopen(part, "w");
	if (!output) {
		perror("Error: fopen");
		return 1;
	}
	fprintf(output, "{\"pid\": %d, \"selector\": %u, \"spun_seconds\": %.3f}\n", getpid(), ss,
		seconds);
	if (fclose(output) || rename(part, argv[1])) {
		perror("Error: rename");
		return 1;
	}
	while (spin() == SELECTOR)
		usleep(50000);
	return 1;
}
