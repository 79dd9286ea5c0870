/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CONFINE_H
#define CONFINE_H

/*
 * Gives up for good what the helper does not need once it has its mapping:
 * new privileges, all capabilities, and every system call but the few of its
 * loop. Returns 0, or -1 with errno set: then it must not go on.
 */
int confine(void);

#endif
