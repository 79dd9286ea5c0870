/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What shares_slots.ko and tests/vm/shares_slots.c share beside module/umh_shm_abi.h. */
#ifndef SHARES_SLOTS_ABI_H
#define SHARES_SLOTS_ABI_H

#include <linux/ioctl.h>

#define SHARES_SLOTS_DEVICE "/dev/shares_slots"

/* The kernel's part of a round. The answer of COLLECT is in the slot's page; it is only read. */
#define SHARES_SLOTS_POST	_IO(0xb8, 0)	/* write the request, then the state */
#define SHARES_SLOTS_COLLECT	_IO(0xb8, 1)	/* read the answer, then write the state */
/* Bugs */
#define SHARES_SLOTS_POST_EARLY	_IO(0xb8, 2)	/* write the state, then the request */
#define SHARES_SLOTS_MEDDLE	_IO(0xb8, 3)	/* write the payload, whatever the state */

#endif /* SHARES_SLOTS_ABI_H */
