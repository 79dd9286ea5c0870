// SPDX-License-Identifier: GPL-2.0-or-later
/* Index: parse, call the engine, wrap the result. */
#include "binding.h"

#include <stdlib.h>

struct index {
	PyObject_HEAD
	struct pw_index *index;
	bool busy;			/* a thread uses it, with the GIL released */
	bool finished;			/* sorted, and nothing was added since */
};

/*
 * Returns the index, or NULL with RuntimeError. Parse arguments before: parsing may run Python code
 * and so another thread, which must not come between the test of busy and its change.
 */
static struct index *take(PyObject *self)
{
	struct index *index = (struct index *)self;

	if (index->busy) {
		PyErr_SetString(PyExc_RuntimeError, "the index is in use by another thread");
		return NULL;
	}
	return index;
}

/* The engine's index; wanted: NULL, or an array of 64-bit PFNs. */
static struct pw_index *create(PyObject *wanted)
{
	struct pw_index *index = NULL;
	Py_buffer view;

	if (!wanted || wanted == Py_None) {
		index = pw_index_create();
	} else {
		if (PyObject_GetBuffer(wanted, &view, PyBUF_SIMPLE))
			return NULL;
		if (view.len % (Py_ssize_t)sizeof(uint64_t)) {
			PyErr_SetString(PyExc_ValueError, "wanted must be an array of 64-bit numbers");
			PyBuffer_Release(&view);
			return NULL;
		}
		index = pw_index_create_wanted(view.buf, (size_t)view.len / sizeof(uint64_t));
		PyBuffer_Release(&view);
	}
	return index ? index : (struct pw_index *)PyErr_NoMemory();
}

static PyObject *index_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "wanted", NULL };
	PyObject *wanted = NULL;
	struct index *index;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:Index", names, &wanted))
		return NULL;
	index = (struct index *)PyType_GenericAlloc(type, 0);
	if (!index)
		return NULL;
	index->index = create(wanted);
	if (!index->index) {
		Py_DECREF(index);
		return NULL;
	}
	return (PyObject *)index;
}

static void index_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	pw_index_destroy(((struct index *)self)->index);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *index_add(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "walker", "space", "root", "first", "last", "max_entries", NULL };
	struct state *state = PyType_GetModuleState(Py_TYPE(self));
	struct pw_sweep_stats stats;
	struct index *index;
	struct call call;
	PyObject *walker;
	uint64_t roots[2], first, last, max_entries = 0;
	uint32_t space;
	int err;

	if (!state ||
	    !PyArg_ParseTupleAndKeywords(args, keywords, "O!O&O&O&O&|$O&:add", names,
					 (PyTypeObject *)state->walker_type, &walker, to_u32,
					 &space, to_roots, roots, to_u64, &first, to_u64, &last,
					 to_u64, &max_entries))
		return NULL;
	index = take(self);
	if (!index)
		return NULL;
	index->busy = true;
	index->finished = false;
	call_init(&call, (struct walker *)walker);
	call_release_gil(&call);
	err = pw_index_add(index->index, space, &call.walker->paging, &call.memory, roots, first, last,
			   max_entries, &stats);
	call_take_gil(&call);
	index->busy = false;
	if (err && err != PW_TOO_MUCH_WORK)
		return set_error(err);
	return Py_BuildValue("((KKKK)O)", (unsigned long long)stats.tables,
			     (unsigned long long)stats.entries, (unsigned long long)stats.gaps,
			     (unsigned long long)stats.shared, err ? Py_False : Py_True);
}

static PyObject *index_finish(PyObject *self, PyObject *unused)
{
	struct index *index = take(self);
	int err;

	(void)unused;
	if (!index)
		return NULL;
	index->busy = true;
	Py_BEGIN_ALLOW_THREADS
	err = pw_index_finish(index->index);
	Py_END_ALLOW_THREADS
	index->busy = false;
	if (err)
		return set_error(err);
	index->finished = true;
	Py_RETURN_NONE;
}

static PyObject *wrap_mappings(const struct pw_mapping *mappings, size_t count)
{
	PyObject *list = PyList_New((Py_ssize_t)count);

	for (size_t i = 0; list && i < count; i++) {
		const struct pw_mapping *it = &mappings[i];
		PyObject *mapping = Py_BuildValue("(IKiii)", it->space,
						  (unsigned long long)it->address, it->level,
						  it->rights, it->memory_type);

		if (!mapping || PyList_SetItem(list, (Py_ssize_t)i, mapping))
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *index_lookup(PyObject *self, PyObject *args)
{
	struct pw_mapping few[64], *mappings = few;
	size_t found, room = sizeof(few) / sizeof(*few);
	struct index *index;
	PyObject *list;
	uint64_t pfn;

	if (!PyArg_ParseTuple(args, "O&:lookup", to_u64, &pfn))
		return NULL;
	index = take(self);
	if (!index)
		return NULL;
	if (!index->finished) {
		PyErr_SetString(PyExc_RuntimeError, "call finish() before lookup()");
		return NULL;
	}
	if (!pw_index_covers(index->index, pfn)) {
		PyErr_Format(PyExc_ValueError, "frame %llu is not one of the index's wanted ones",
			     (unsigned long long)pfn);
		return NULL;
	}
	found = pw_index_lookup(index->index, pfn, room, mappings);
	if (found > room) {
		mappings = malloc(found * sizeof(*mappings));
		if (!mappings)
			return PyErr_NoMemory();
		found = pw_index_lookup(index->index, pfn, found, mappings);
	}
	list = wrap_mappings(mappings, found);
	if (mappings != few)
		free(mappings);
	return list;
}

static PyObject *index_size(PyObject *self, PyObject *unused)
{
	struct index *index = take(self);
	size_t records;
	uint64_t pages;

	(void)unused;
	if (!index)
		return NULL;
	pw_index_size(index->index, &records, &pages);
	return Py_BuildValue("(KK)", (unsigned long long)records, (unsigned long long)pages);
}

static PyMethodDef index_methods[] = {
	{ "add", (PyCFunction)(void (*)(void))index_add, METH_VARARGS | METH_KEYWORDS, NULL },
	{ "finish", index_finish, METH_NOARGS, NULL },
	{ "lookup", index_lookup, METH_VARARGS, NULL },
	{ "size", index_size, METH_NOARGS, NULL },
	{ 0 },
};

static PyType_Slot index_slots[] = {
	{ Py_tp_new, index_new },
	{ Py_tp_dealloc, index_dealloc },
	{ Py_tp_methods, index_methods },
	{ 0 },
};

PyType_Spec index_spec = {
	.name = "pageproof_pagewalk.Index",
	.basicsize = sizeof(struct index),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = index_slots,
};
