// SPDX-License-Identifier: GPL-2.0-or-later
/* Accounts of all frames: parse, call the engine, wrap what it gives. */
#include "binding.h"

/* The arrays of a call. A view without an object was not given. */
struct arrays {
	Py_buffer uses, counts, marked;
};

static void release_arrays(struct arrays *arrays)
{
	PyBuffer_Release(&arrays->uses);
	PyBuffer_Release(&arrays->counts);
	PyBuffer_Release(&arrays->marked);
}

/* The arrays of an account, by PFN and of the same length. */
static bool parse_arrays(struct pw_account *account, const struct arrays *arrays)
{
	const Py_ssize_t length = arrays->uses.obj ? arrays->uses.len : arrays->marked.len;

	if (!arrays->uses.obj && !arrays->marked.obj) {
		PyErr_SetString(PyExc_ValueError, "an account needs uses or marked");
		return false;
	}
	if ((arrays->counts.obj && arrays->counts.len != length) ||
	    (arrays->marked.obj && arrays->marked.len != length)) {
		PyErr_SetString(PyExc_ValueError, "the arrays of an account must have the same length");
		return false;
	}
	account->frames = (uint64_t)length;
	account->uses = arrays->uses.obj ? arrays->uses.buf : NULL;
	account->counts = arrays->counts.obj ? arrays->counts.buf : NULL;
	account->marked = arrays->marked.obj ? arrays->marked.buf : NULL;
	return true;
}

/* Get an array to write to; None: it is not given. */
static bool get_writable(PyObject *array, Py_buffer *ret)
{
	return array == Py_None || !PyObject_GetBuffer(array, ret, PyBUF_WRITABLE);
}

PyObject *walker_account(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "root", "first", "last", "uses", "counts", "marked", "special",
				 "most_places", "max_entries", "alike", NULL };
	struct walker *walker = (struct walker *)self;
	struct pw_account account = { 0 };
	struct arrays arrays = { 0 };
	struct pw_sweep_stats stats;
	struct pw_words all = { 0 };
	struct call call;
	uint64_t roots[2], first, last, max_entries = 0;
	PyObject *uses, *counts = Py_None, *ret = NULL;
	int err, alike = 0;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O&O&O|$Oz*O&O&O&p:account", names,
					 to_roots, roots, to_u64, &first, to_u64, &last, &uses,
					 &counts, &arrays.marked, to_u64, &account.special,
					 to_u64, &account.most_places, to_u64, &max_entries, &alike))
		return NULL;
	if (!get_writable(uses, &arrays.uses) || !get_writable(counts, &arrays.counts))
		goto out;
	if (!parse_arrays(&account, &arrays))
		goto out;
	account.alike = alike;
	call_init(&call, walker);
	call_release_gil(&call);
	err = pw_account_add(&account, &walker->paging, &call.memory, roots, first, last, max_entries,
			     keep_ranges, &all, &stats);
	call_take_gil(&call);
	ret = wrap_sweep(self, &all, &stats, err);
out:
	release_arrays(&arrays);
	return ret;
}

PyObject *account_merge(PyObject *module, PyObject *args)
{
	struct arrays to = { 0 }, from = { 0 };
	struct pw_account account = { 0 }, other = { 0 };
	bool good;

	(void)module;
	if (!PyArg_ParseTuple(args, "w*w*y*y*:account_merge", &to.uses, &to.counts, &from.uses,
			      &from.counts))
		return NULL;
	good = parse_arrays(&account, &to) && parse_arrays(&other, &from);
	if (good && account.frames != other.frames) {
		PyErr_SetString(PyExc_ValueError, "the arrays of an account must have the same length");
		good = false;
	}
	if (good) {
		Py_BEGIN_ALLOW_THREADS
		pw_account_merge(&account, &other);
		Py_END_ALLOW_THREADS
	}
	release_arrays(&to);
	release_arrays(&from);
	return good ? Py_NewRef(Py_None) : NULL;
}
