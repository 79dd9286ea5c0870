// SPDX-License-Identifier: GPL-2.0-or-later
/* Ranges of a sweep, in a buffer that Python reads without a copy. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

struct block {
	PyObject_HEAD
	struct ranges ranges;
};

int keep_ranges(void *arg, const struct pw_range *ranges, size_t count)
{
	struct ranges *all = arg;

	if (count > all->room - all->count) {
		size_t room = all->room + all->room / 2 + count;
		struct pw_range *larger = realloc(all->ranges, room * sizeof(*larger));

		if (!larger) {
			all->no_memory = true;
			return -1;
		}
		all->ranges = larger;
		all->room = room;
	}
	memcpy(&all->ranges[all->count], ranges, count * sizeof(*ranges));
	all->count += count;
	return 0;
}

/* Returns a memoryview of the ranges, which then belong to it, or NULL with an exception set. */
static PyObject *wrap_ranges(struct state *state, struct ranges *all)
{
	PyTypeObject *type = (PyTypeObject *)state->block_type;
	struct block *block = (struct block *)PyType_GenericAlloc(type, 0);
	PyObject *view;

	if (!block)
		return NULL;
	block->ranges = *all;
	*all = (struct ranges){ 0 };
	view = PyMemoryView_FromObject((PyObject *)block);
	Py_DECREF(block);
	return view;
}

PyObject *wrap_sweep(PyObject *walker, struct ranges *all, const struct pw_sweep_stats *stats,
		     int err)
{
	struct state *state = PyType_GetModuleState(Py_TYPE(walker));
	PyObject *ranges;

	if (all->no_memory)
		err = PW_NO_MEMORY;
	if (!state || (err && err != PW_TOO_MUCH_WORK)) {
		free(all->ranges);
		return state ? set_error(err) : NULL;
	}
	ranges = wrap_ranges(state, all);
	free(all->ranges);
	if (!ranges)
		return NULL;
	return Py_BuildValue("(N(KKKK)N)", ranges, (unsigned long long)stats->tables,
			     (unsigned long long)stats->entries, (unsigned long long)stats->gaps,
			     (unsigned long long)stats->shared,
			     err ? PyLong_FromUnsignedLongLong(stats->stopped_at)
				 : Py_NewRef(Py_None));
}

static int block_buffer(PyObject *self, Py_buffer *view, int flags)
{
	const struct ranges *all = &((struct block *)self)->ranges;

	return PyBuffer_FillInfo(view, self, all->ranges ? (void *)all->ranges : "",
				 (Py_ssize_t)(all->count * sizeof(*all->ranges)), 1, flags);
}

static void block_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	free(((struct block *)self)->ranges.ranges);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyType_Slot block_slots[] = {
	{ Py_tp_dealloc, block_dealloc },
	{ Py_bf_getbuffer, block_buffer },
	{ 0 },
};

PyType_Spec block_spec = {
	.name = "pageproof_pagewalk.Block",
	.basicsize = sizeof(struct block),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = block_slots,
};
