/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SHARES_NAMED_H
#define SHARES_NAMED_H

#include <linux/fs.h>
#include <linux/miscdevice.h>

/* area.c */
extern struct miscdevice shares_named_area;
int shares_named_area_init(void);
void shares_named_area_exit(void);

#endif /* SHARES_NAMED_H */
