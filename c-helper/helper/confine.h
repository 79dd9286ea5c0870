/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CONFINE_H
#define CONFINE_H

/*
 * Permanently drops what the helper does not need once it has its mapping: new
 * privileges, all capabilities, and all system calls except those of its loop.
 * Returns 0, or -1 with errno set; the caller must exit then.
 */
int confine(void);

#endif
