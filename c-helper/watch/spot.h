/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spots: the breakpoints of one address. */
#ifndef WATCH_SPOT_H
#define WATCH_SPOT_H

#include "state.h"

/* The spot of an address, or a free one if there is a register for each of its pieces; else NULL. */
struct watch_spot *watch_spot_of(struct watch *watch, const struct watch_place *place);
/* Open a free spot. Takes second registers of others if that is needed. */
int watch_spot_open(struct watch *watch, struct watch_spot *spot);
void watch_spot_close(struct watch *watch, struct watch_spot *spot);

#endif
