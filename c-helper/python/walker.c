// SPDX-License-Identifier: GPL-2.0-or-later
/* Walker: parse, call the engine, wrap what it gives. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

/* RANGE_FORMAT of module.c, "=6Q4BI", has these offsets. */
#define AT(member, offset) \
	_Static_assert(offsetof(struct pw_range, member) == (offset), #member " in RANGE_FORMAT")
AT(start, 0);
AT(last, 8);
AT(paddr, 16);
AT(entry, 24);
AT(table, 32);
AT(shared_with, 40);
AT(level, 48);
AT(kind, 49);
AT(rights, 50);
AT(memory_type, 51);
AT(gap_length, 52);
_Static_assert(sizeof(struct pw_range) == 56, "size of RANGE_FORMAT");
#undef AT

/* A step's names of bits: PW_MAX_BITS names of 15 letters with blanks and numbers of 20 digits. */
#define FLAGS_ROOM (PW_MAX_BITS * (15 + 20 + 1))

static PyObject *number_or_none(uint64_t number)
{
	if (number == PW_NO_PADDR)
		Py_RETURN_NONE;
	return PyLong_FromUnsignedLongLong(number);
}

static PyObject *wrap_step(const struct walker *walker, const struct pw_step *step)
{
	char flags[FLAGS_ROOM];

	pw_flag_names(&walker->paging, step, sizeof(flags), flags);
	return Py_BuildValue("(iKIKisN)", step->level, (unsigned long long)step->table, step->index,
			     (unsigned long long)step->entry, step->kind, flags,
			     number_or_none(step->base));
}

static PyObject *wrap_walk(const struct walker *walker, const struct pw_walk *walk)
{
	const struct pw_gap *gap = &walk->gap;
	PyObject *steps = PyTuple_New(walk->steps);

	for (Py_ssize_t i = 0; steps && i < walk->steps; i++) {
		PyObject *step = wrap_step(walker, &walk->step[i]);

		if (!step || PyTuple_SetItem(steps, i, step))
			Py_CLEAR(steps);
	}
	if (!steps)
		return NULL;
	return Py_BuildValue("(iKNKiiiKiKKkN)", walk->outcome, (unsigned long long)walk->root,
			     number_or_none(walk->paddr), (unsigned long long)walk->leaf_bytes,
			     walk->rights, walk->memory_type, walk->swap_type,
			     (unsigned long long)walk->swap_offset, gap->level,
			     (unsigned long long)gap->table, (unsigned long long)gap->paddr,
			     (unsigned long)gap->length, steps);
}

static PyObject *walker_walk(PyObject *self, PyObject *args)
{
	struct walker *walker = (struct walker *)self;
	struct pw_walk walk;
	struct call call;
	uint64_t roots[2], address;
	int err;

	if (!PyArg_ParseTuple(args, "O&O&:walk", to_roots, roots, to_u64, &address))
		return NULL;
	call_init(&call, walker);
	err = pw_walk(&walker->paging, &call.memory, roots, address, &walk);
	return err ? set_error(err) : wrap_walk(walker, &walk);
}

static PyObject *walker_sweep(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "root", "first", "last", "merge", "ignore", "skip", "shared_once",
				 "max_entries", NULL };
	struct walker *walker = (struct walker *)self;
	struct pw_sweep_options options = { .shared_once = true };
	struct pw_sweep_stats stats;
	struct pw_words all = { 0 };
	struct call call;
	uint64_t roots[2];
	unsigned char merge = 0;
	uint32_t skip = 0;
	int shared_once = 1, err;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O&O&|$bO&O&pO&:sweep", names, to_roots,
					 roots, to_u64, &options.first, to_u64, &options.last,
					 &merge, to_u64, &options.ignore, to_u32, &skip,
					 &shared_once, to_u64, &options.max_entries))
		return NULL;
	options.merge = merge;
	options.skip = skip;
	options.shared_once = shared_once;
	call_init(&call, walker);
	call_release_gil(&call);
	err = pw_sweep(&walker->paging, &call.memory, roots, &options, keep_ranges, &all, &stats);
	call_take_gil(&call);
	return wrap_sweep(self, &all, &stats, err);
}

/* (first, count) of hwpoison, migration, device memory and markers. */
static bool parse_swap(struct walker *walker, PyObject *swap)
{
	struct pw_swap_layout *to = &walker->layout;

	if (swap == Py_None)
		return true;
	if (!PyTuple_Check(swap)) {
		PyErr_SetString(PyExc_TypeError, "swap must be a tuple of four pairs");
		return false;
	}
	walker->paging.swap = to;
	return PyArg_ParseTuple(swap, "(bb)(bb)(bb)(bb);swap must be four pairs", &to->hwpoison.first,
				&to->hwpoison.count, &to->migration.first, &to->migration.count,
				&to->device.first, &to->device.count, &to->marker.first,
				&to->marker.count);
}

static int by_paddr(const void *left, const void *right)
{
	const struct pw_direct *a = left, *b = right;

	return a->paddr < b->paddr ? -1 : a->paddr > b->paddr;
}

/* An item of direct: (paddr, buffer), or (paddr, length) for memory that the dump omits. */
static bool parse_direct(struct walker *walker, PyObject *pair)
{
	struct pw_direct *to = &walker->direct[walker->views_count];
	Py_buffer *view = &walker->views[walker->views_count];
	PyObject *what;

	if (!PyTuple_Check(pair)) {
		PyErr_SetString(PyExc_TypeError, "direct must be pairs of an address and a buffer");
		return false;
	}
	if (!PyArg_ParseTuple(pair, "O&O;direct must be pairs", to_u64, &to->paddr, &what))
		return false;
	memset(view, 0, sizeof(*view));
	if (PyLong_Check(what)) {
		if (!to_u64(what, &to->length))
			return false;
	} else {
		if (PyObject_GetBuffer(what, view, PyBUF_SIMPLE))
			return false;
		to->bytes = view->buf;
		to->length = (uint64_t)view->len;
	}
	walker->views_count++;
	return true;
}

static bool parse_directs(struct walker *walker, PyObject *direct)
{
	Py_ssize_t count = PySequence_Size(direct);
	bool good = count >= 0;

	if (count <= 0)
		return good;
	walker->direct = PyMem_Calloc((size_t)count, sizeof(*walker->direct));
	walker->views = PyMem_Calloc((size_t)count, sizeof(*walker->views));
	if (!walker->direct || !walker->views)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; good && i < count; i++) {
		PyObject *pair = PySequence_GetItem(direct, i);

		good = pair && parse_direct(walker, pair);
		Py_XDECREF(pair);
	}
	if (good)
		qsort(walker->direct, (size_t)count, sizeof(*walker->direct), by_paddr);
	for (Py_ssize_t i = 1; good && i < count; i++) {
		const struct pw_direct *before = &walker->direct[i - 1];

		if (walker->direct[i].paddr - before->paddr < before->length) {
			PyErr_SetString(PyExc_ValueError, "ranges of direct overlap");
			good = false;
		}
	}
	return good;
}

static bool parse_types(struct walker *walker, const unsigned char *types, Py_ssize_t count)
{
	const int most = walker->paging.form->memory_types;

	for (Py_ssize_t i = 0; count == 8 && i < 8; i++) {
		if (types[i] >= most)
			count = -1;
		walker->paging.memory_types[i] = types[i];
	}
	if (count != 8)
		PyErr_Format(PyExc_ValueError, "memory_types must be 8 bytes, each below %d", most);
	return count == 8;
}

static bool parse_form(struct walker *walker, PyObject *form)
{
	static const struct pw_form *const built_in[] = { &pw_x86_64_4_levels, &pw_x86_64_5_levels };
	struct state *state = PyType_GetModuleState(Py_TYPE((PyObject *)walker));
	const char *name;

	if (!state)
		return false;
	if (PyObject_TypeCheck(form, (PyTypeObject *)state->form_type)) {
		walker->form = Py_NewRef(form);
		walker->paging.form = form_of(form);
		return true;
	}
	if (!PyUnicode_Check(form)) {
		PyErr_SetString(PyExc_TypeError, "form must be a Form or the name of a built-in one");
		return false;
	}
	name = PyUnicode_AsUTF8AndSize(form, NULL);
	for (size_t i = 0; name && i < sizeof(built_in) / sizeof(*built_in); i++) {
		if (!strcmp(name, built_in[i]->name)) {
			walker->paging.form = built_in[i];
			return true;
		}
	}
	if (name)
		PyErr_Format(PyExc_ValueError, "unknown form %R; choose from %s, %s, or make a Form",
			     form, built_in[0]->name, built_in[1]->name);
	return false;
}

static PyObject *walker_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "form", "memory_types", "encrypt_mask", "swap", "zero_fills",
				 "read", "direct", "reserved_mask", "kdump", "file", NULL };
	struct state *state = PyType_GetModuleState(type);
	PyObject *form, *swap = Py_None, *read = Py_None, *direct = NULL, *kdump = Py_None;
	PyObject *file = Py_None;
	const char *types;
	Py_ssize_t types_count;
	int zero_fills = 0;
	uint64_t encrypt_mask = 0, reserved_mask = 0;
	struct walker *walker;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "Oy#|$O&OpOOO&OO:Walker", names, &form, &types,
					 &types_count, to_u64, &encrypt_mask, &swap, &zero_fills,
					 &read, &direct, to_u64, &reserved_mask, &kdump, &file))
		return NULL;
	if (!state)
		return NULL;
	if (kdump != Py_None &&
	    !PyObject_TypeCheck(kdump, (PyTypeObject *)state->kdump_type)) {
		PyErr_SetString(PyExc_TypeError, "kdump must be a Kdump");
		return NULL;
	}
	if (file != Py_None &&
	    !PyObject_TypeCheck(file, (PyTypeObject *)state->file_memory_type)) {
		PyErr_SetString(PyExc_TypeError, "file must be a FileMemory");
		return NULL;
	}
	if (read != Py_None && !PyCallable_Check(read)) {
		PyErr_SetString(PyExc_TypeError, "read is not callable");
		return NULL;
	}
	walker = (struct walker *)PyType_GenericAlloc(type, 0);
	if (!walker)
		return NULL;
	walker->paging.encrypt_mask = encrypt_mask;
	walker->paging.reserved_mask = reserved_mask;
	walker->paging.zero_fills = zero_fills;
	walker->read = read == Py_None ? NULL : Py_NewRef(read);
	walker->kdump = kdump == Py_None ? NULL : Py_NewRef(kdump);
	walker->file = file == Py_None ? NULL : Py_NewRef(file);
	if (!parse_form(walker, form) ||
	    !parse_types(walker, (const unsigned char *)types, types_count) ||
	    !parse_swap(walker, swap) || (direct && !parse_directs(walker, direct))) {
		Py_DECREF(walker);
		return NULL;
	}
	return (PyObject *)walker;
}

/*
 * Does not visit the views, so that the collector regards their objects as in use. It would crash
 * if it cleared a memoryview before this object released it (memory_clear() and memory_dealloc()
 * of CPython's Objects/memoryobject.c). A buffer cannot refer to a walker, so no cycle is missed.
 */
static int walker_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(((struct walker *)self)->read);
	return 0;
}

/* Keeps the views and the form, which a method called by a finalizer would still use. */
static int walker_clear(PyObject *self)
{
	Py_CLEAR(((struct walker *)self)->read);
	return 0;
}

static void walker_dealloc(PyObject *self)
{
	struct walker *walker = (struct walker *)self;
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	walker_clear(self);
	for (Py_ssize_t i = 0; i < walker->views_count; i++)
		PyBuffer_Release(&walker->views[i]);
	PyMem_Free(walker->views);
	PyMem_Free(walker->direct);
	Py_XDECREF(walker->form);
	Py_XDECREF(walker->kdump);
	Py_XDECREF(walker->file);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef walker_methods[] = {
	{ "walk", walker_walk, METH_VARARGS, NULL },
	{ "account", (PyCFunction)(void (*)(void))walker_account, METH_VARARGS | METH_KEYWORDS, NULL },
	{ "sweep", (PyCFunction)(void (*)(void))walker_sweep, METH_VARARGS | METH_KEYWORDS, NULL },
	{ "sides", (PyCFunction)(void (*)(void))walker_sides, METH_VARARGS | METH_KEYWORDS, NULL },
	{ 0 },
};

static PyType_Slot walker_slots[] = {
	{ Py_tp_new, walker_new },
	{ Py_tp_dealloc, walker_dealloc },
	{ Py_tp_traverse, walker_traverse },
	{ Py_tp_clear, walker_clear },
	{ Py_tp_methods, walker_methods },
	{ 0 },
};

PyType_Spec walker_spec = {
	.name = "pageproof_pagewalk.Walker",
	.basicsize = sizeof(struct walker),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = walker_slots,
};
