/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events: a breakpoint on each CPU, with its program. */
#ifndef WATCH_EVENT_H
#define WATCH_EVENT_H

#include "state.h"

/*
 * Open the events of a piece in this order, each still off: first the one for writes, the leader of the
 * group, so that it gets the lower debug register on each CPU and its program runs first.
 * leader: an event or NO_EVENT. Returns the event, or a negative errno.
 */
int watch_event_open(struct watch *watch, const struct watch_spot *spot, size_t piece, bool write,
		     int leader);
/* From now on its records distinguish reads from writes, or not. */
void watch_event_set_exact(struct watch *watch, int event, bool exact);
/* Switch a leader and its group on. */
int watch_event_enable(struct watch *watch, int event);
/* Keeps what it lost. Nothing happens for NO_EVENT. */
void watch_event_close(struct watch *watch, int event);
/* Hits of a used event without a run of the program, at most. */
uint64_t watch_event_lost(const struct watch *watch, int event);

#endif
