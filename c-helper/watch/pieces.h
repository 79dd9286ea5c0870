/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What debug registers can do. */
#ifndef WATCH_PIECES_H
#define WATCH_PIECES_H

#include "watch.h"

/* A debug register covers 1, 2, 4 or 8 bytes, aligned: as many as the first one can cover. length > 0. */
uint32_t watch_piece_bytes(uint64_t address, uint32_t length);

#endif
