// SPDX-License-Identifier: GPL-2.0-or-later
/* A watch's counts and its message. */
#include "state.h"

#include <stdarg.h>
#include <stdio.h>

struct watch_counts *watch_row(const struct watch *watch, uint32_t row, uint32_t cpu)
{
	return &watch->counts[row * watch->cpus_end + cpu];
}

int watch_fail(struct watch *watch, int err, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(watch->message, sizeof(watch->message), format, arguments);
	va_end(arguments);
	return err;
}

const char *watch_message(const struct watch *watch)
{
	return watch->message;
}
