// SPDX-License-Identifier: GPL-2.0-or-later
/* Walker: parse, call the engine, wrap what it gives. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct pw_range) == 56, "RANGE_FORMAT of the .pyi says 6Q4BI");

#define CALLBACK_FAILED (-1)

int to_u64(PyObject *object, void *ret)
{
	unsigned long long value = PyLong_AsUnsignedLongLong(object);

	if (PyErr_Occurred()) {
		if (PyErr_ExceptionMatches(PyExc_OverflowError))
			PyErr_Format(PyExc_ValueError, "%R is no 64-bit number", object);
		return 0;
	}
	*(uint64_t *)ret = value;
	return 1;
}

int to_u32(PyObject *object, void *ret)
{
	uint64_t value;

	if (!to_u64(object, &value))
		return 0;
	if (value > UINT32_MAX) {
		PyErr_Format(PyExc_ValueError, "%R is no 32-bit number", object);
		return 0;
	}
	*(uint32_t *)ret = (uint32_t)value;
	return 1;
}

/* What the callable said: bytes of the length asked for, or the number of a kind. */
static int take_answer(PyObject *answer, void *data, size_t length)
{
	Py_buffer view;
	bool fits;

	if (PyLong_Check(answer)) {
		long kind = PyLong_AsLong(answer);

		if (kind == PW_EXCLUDED || kind == PW_ZERO_FILLED || kind == PW_UNREADABLE)
			return (int)kind;
		if (!PyErr_Occurred())
			PyErr_Format(PyExc_ValueError, "read() gave %ld, which is no gap", kind);
		return CALLBACK_FAILED;
	}
	if (PyObject_GetBuffer(answer, &view, PyBUF_SIMPLE))
		return CALLBACK_FAILED;
	fits = (size_t)view.len == length;
	if (fits)
		memcpy(data, view.buf, length);
	else
		PyErr_Format(PyExc_ValueError, "read() gave %zd bytes instead of %zu", view.len,
			     length);
	PyBuffer_Release(&view);
	return fits ? 0 : CALLBACK_FAILED;
}

static int read_by_callable(void *arg, uint64_t paddr, void *data, size_t length)
{
	struct call *call = arg;
	bool released = call->thread;
	PyObject *answer;
	int err = CALLBACK_FAILED;

	if (released)
		call_take_gil(call);
	answer = PyObject_CallFunction(call->walker->read, "KK", (unsigned long long)paddr,
				       (unsigned long long)length);
	if (answer) {
		err = take_answer(answer, data, length);
		Py_DECREF(answer);
	}
	/* Ctrl-C must end a sweep too: with the GIL taken back, this is the time to look. */
	if (err >= 0 && PyErr_CheckSignals())
		err = CALLBACK_FAILED;
	if (released)
		call_release_gil(call);
	return err;
}

void call_init(struct call *call, const struct walker *walker)
{
	*call = (struct call){ .walker = walker };
	call->memory.direct = walker->direct;
	call->memory.direct_count = (size_t)walker->views_count;
	call->memory.read = walker->read ? read_by_callable : NULL;
	call->memory.arg = call;
}

void call_release_gil(struct call *call)
{
	call->thread = PyEval_SaveThread();
}

void call_take_gil(struct call *call)
{
	PyEval_RestoreThread(call->thread);
	call->thread = NULL;
}

static PyObject *number_or_none(uint64_t number)
{
	if (number == PW_NO_PADDR)
		Py_RETURN_NONE;
	return PyLong_FromUnsignedLongLong(number);
}

static PyObject *wrap_step(const struct walker *walker, const struct pw_step *step)
{
	char flags[160];

	pw_flag_names(&walker->paging, step, flags, sizeof(flags));
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

	if (!PyArg_ParseTuple(args, "O&O&:walk", to_u64, &roots[0], to_u64, &address))
		return NULL;
	roots[1] = roots[0];
	call_init(&call, walker);
	err = pw_walk(&walker->paging, &call.memory, roots, address, &walk);
	return err ? set_error(err) : wrap_walk(walker, &walk);
}

/* Ranges as they come, in one block. */
struct ranges {
	struct pw_range *ranges;
	size_t count, room;
	bool no_memory;
};

static int keep_ranges(void *arg, const struct pw_range *ranges, size_t count)
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

static PyObject *wrap_ranges(const struct ranges *all, const struct pw_sweep_stats *stats, int err)
{
	if (err && err != PW_TOO_MUCH_WORK)
		return set_error(err);
	return Py_BuildValue("(y#(KKKK)N)", all->ranges ? (const char *)all->ranges : "",
			     (Py_ssize_t)(all->count * sizeof(*all->ranges)),
			     (unsigned long long)stats->tables, (unsigned long long)stats->entries,
			     (unsigned long long)stats->gaps, (unsigned long long)stats->shared,
			     number_or_none(err ? stats->stopped_at : PW_NO_PADDR));
}

static PyObject *walker_sweep(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "root", "first", "last", "merge", "ignore", "skip", "shared_once",
				 "max_entries", NULL };
	struct walker *walker = (struct walker *)self;
	struct pw_sweep_options options = { .shared_once = true };
	struct pw_sweep_stats stats;
	struct ranges all = { 0 };
	struct call call;
	uint64_t roots[2];
	unsigned char merge = 0;
	uint32_t skip = 0;
	int shared_once = 1, err;
	PyObject *ret;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O&O&|$bO&O&pO&:sweep", names, to_u64,
					 &roots[0], to_u64, &options.first, to_u64, &options.last,
					 &merge, to_u64, &options.ignore, to_u32, &skip,
					 &shared_once, to_u64, &options.max_entries))
		return NULL;
	roots[1] = roots[0];
	options.merge = merge;
	options.skip = skip;
	options.shared_once = shared_once;
	call_init(&call, walker);
	call_release_gil(&call);
	err = pw_sweep(&walker->paging, &call.memory, roots, &options, keep_ranges, &all, &stats);
	call_take_gil(&call);
	if (all.no_memory)
		err = PW_NO_MEMORY;
	ret = wrap_ranges(&all, &stats, err);
	free(all.ranges);
	return ret;
}

/* The arrays of an account, by PFN and of one length. */
static bool parse_account(struct pw_account *account, Py_buffer *uses, Py_buffer *counts,
			  Py_buffer *marked)
{
	if ((counts->obj && counts->len != uses->len) || (marked->obj && marked->len != uses->len)) {
		PyErr_SetString(PyExc_ValueError, "the arrays of an account have one length");
		return false;
	}
	account->frames = (uint64_t)uses->len;
	account->uses = uses->buf;
	account->counts = counts->obj ? counts->buf : NULL;
	account->marked = marked->obj ? marked->buf : NULL;
	return true;
}

static PyObject *walker_account(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "root", "first", "last", "uses", "counts", "marked", "special",
				 "most_places", "max_entries", NULL };
	struct walker *walker = (struct walker *)self;
	struct pw_sweep_options options = { .shared_once = true };
	struct pw_account account = { 0 };
	Py_buffer uses = { 0 }, counts = { 0 }, marked = { 0 };
	struct pw_sweep_stats stats;
	struct ranges all = { 0 };
	struct call call;
	uint64_t roots[2];
	PyObject *ret = NULL;
	int err;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O&O&w*|$w*z*O&O&O&:account", names,
					 to_u64, &roots[0], to_u64, &options.first, to_u64,
					 &options.last, &uses, &counts, &marked, to_u64,
					 &account.special, to_u64, &account.most_places, to_u64,
					 &options.max_entries))
		return NULL;
	if (!parse_account(&account, &uses, &counts, &marked))
		goto out;
	roots[1] = roots[0];
	call_init(&call, walker);
	call_release_gil(&call);
	err = pw_account_add(&account, &walker->paging, &call.memory, roots, &options, keep_ranges,
			     &all, &stats);
	call_take_gil(&call);
	if (all.no_memory)
		err = PW_NO_MEMORY;
	ret = wrap_ranges(&all, &stats, err);
out:
	free(all.ranges);
	PyBuffer_Release(&uses);
	PyBuffer_Release(&counts);
	PyBuffer_Release(&marked);
	return ret;
}

/* (first, count) of hwpoison, migration, device memory and markers. */
static bool parse_swap(struct walker *walker, PyObject *swap)
{
	struct pw_swap_layout *to = &walker->layout;

	if (swap == Py_None)
		return true;
	if (!PyTuple_Check(swap)) {
		PyErr_SetString(PyExc_TypeError, "swap is a tuple of four pairs");
		return false;
	}
	walker->paging.swap = to;
	return PyArg_ParseTuple(swap, "(bb)(bb)(bb)(bb);swap is four pairs", &to->hwpoison.first,
				&to->hwpoison.count, &to->migration.first, &to->migration.count,
				&to->device.first, &to->device.count, &to->marker.first,
				&to->marker.count);
}

static int by_paddr(const void *left, const void *right)
{
	const struct pw_direct *a = left, *b = right;

	return a->paddr < b->paddr ? -1 : a->paddr > b->paddr;
}

/* One of direct: (paddr, buffer), or (paddr, length) for what was left out. */
static bool parse_direct(struct walker *walker, PyObject *pair)
{
	struct pw_direct *to = &walker->direct[walker->views_count];
	Py_buffer *view = &walker->views[walker->views_count];
	PyObject *what;

	if (!PyTuple_Check(pair)) {
		PyErr_SetString(PyExc_TypeError, "direct is pairs of an address and a buffer");
		return false;
	}
	if (!PyArg_ParseTuple(pair, "O&O;direct is pairs", to_u64, &to->paddr, &what))
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
	for (Py_ssize_t i = 0; count == 8 && i < 8; i++) {
		if (types[i] >= PW_MEMORY_TYPES)
			count = -1;
		walker->paging.memory_types[i] = types[i];
	}
	if (count != 8)
		PyErr_SetString(PyExc_ValueError, "memory_types is 8 bytes, each below 6");
	return count == 8;
}

static PyObject *walker_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "levels", "memory_types", "encrypt_mask", "swap", "zero_fills",
				 "read", "direct", "reserved_mask", NULL };
	PyObject *swap = Py_None, *read = Py_None, *direct = NULL;
	const char *types;
	Py_ssize_t types_count;
	int levels, zero_fills = 0;
	uint64_t encrypt_mask = 0, reserved_mask = 0;
	struct walker *walker;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "iy#|$O&OpOOO&:Walker", names, &levels, &types,
					 &types_count, to_u64, &encrypt_mask, &swap, &zero_fills,
					 &read, &direct, to_u64, &reserved_mask))
		return NULL;
	if (read != Py_None && !PyCallable_Check(read)) {
		PyErr_SetString(PyExc_TypeError, "read is not callable");
		return NULL;
	}
	if (levels != 4 && levels != 5)
		return PyErr_Format(PyExc_ValueError, "x86_64 has 4 or 5 levels of tables, not %d",
				    levels);
	walker = (struct walker *)PyType_GenericAlloc(type, 0);
	if (!walker)
		return NULL;
	walker->paging.form = levels == 5 ? &pw_x86_64_5_levels : &pw_x86_64_4_levels;
	walker->paging.encrypt_mask = encrypt_mask;
	walker->paging.reserved_mask = reserved_mask;
	walker->paging.zero_fills = zero_fills;
	walker->read = read == Py_None ? NULL : Py_NewRef(read);
	if (!parse_types(walker, (const unsigned char *)types, types_count) ||
	    !parse_swap(walker, swap) || (direct && !parse_directs(walker, direct))) {
		Py_DECREF(walker);
		return NULL;
	}
	return (PyObject *)walker;
}

/*
 * The views are not visited, so that the collector takes what they hold for used: a memoryview
 * that it clears before this object lets go of it is a crash (memory_clear() and memory_dealloc()
 * of CPython's Objects/memoryobject.c). Buffers hold no walker, so that no cycle stays for it.
 */
static int walker_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(((struct walker *)self)->read);
	return 0;
}

/* Not the views: a sweep of another thread may be reading there. They go with the object. */
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
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef walker_methods[] = {
	{ "walk", walker_walk, METH_VARARGS, NULL },
	{ "account", (PyCFunction)(void (*)(void))walker_account, METH_VARARGS | METH_KEYWORDS, NULL },
	{ "sweep", (PyCFunction)(void (*)(void))walker_sweep, METH_VARARGS | METH_KEYWORDS, NULL },
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
