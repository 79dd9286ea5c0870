// SPDX-License-Identifier: GPL-2.0-or-later
/* The ranges of a sweep. */
#include "binding.h"

_Static_assert(sizeof(struct pw_range) % sizeof(uint64_t) == 0, "ranges are words");

int keep_ranges(void *arg, const struct pw_range *ranges, size_t count)
{
	return words_keep(arg, ranges, count * sizeof(*ranges));
}

PyObject *wrap_sweep(PyObject *walker, struct pw_words *ranges,
		     const struct pw_sweep_stats *stats, int err)
{
	struct state *state = PyType_GetModuleState(Py_TYPE(walker));
	PyObject *view = NULL;

	if (state && err && err != PW_TOO_MUCH_WORK)
		set_error(err);
	else if (state)
		view = bytes_view(state, ranges);
	words_free(ranges);
	if (!view)
		return NULL;
	return Py_BuildValue("(N(KKKK)N)", view, (unsigned long long)stats->tables,
			     (unsigned long long)stats->entries, (unsigned long long)stats->gaps,
			     (unsigned long long)stats->shared,
			     err ? PyLong_FromUnsignedLongLong(stats->stopped_at)
				 : Py_NewRef(Py_None));
}
