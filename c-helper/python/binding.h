/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the extension's files share. Types and docstrings are in pageproof_pagewalk.pyi. */
#ifndef BINDING_H
#define BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pagewalk.h"

/* What the module object keeps: nothing is global, so that each interpreter has its own. */
struct state {
	PyObject *walker_type;
	PyObject *index_type;
};

/* A paging form and memory; does not change after it was made, so that threads may share it. */
struct walker {
	PyObject_HEAD
	struct pw_paging paging;
	struct pw_swap_layout layout;
	PyObject *read;			/* callable or NULL */
	struct pw_direct *direct;
	Py_buffer *views;		/* what direct points into */
	Py_ssize_t views_count;
};

/*
 * One call into the engine. With the GIL released, thread is where to take it back for the
 * callback; NULL: it is held.
 */
struct call {
	const struct walker *walker;
	PyThreadState *thread;
	struct pw_memory memory;
};

extern PyType_Spec walker_spec, index_spec;

/* walker.c */
void call_init(struct call *call, const struct walker *walker);
void call_release_gil(struct call *call);
void call_take_gil(struct call *call);
/*
 * For PyArg_Parse's O&: an int from 0 to 2^64 - 1 or 2^32 - 1, else ValueError. Its own I would mask
 * a larger number.
 */
int to_u64(PyObject *object, void *ret);
int to_u32(PyObject *object, void *ret);

/* error.c: the one place where the engine's errors become Python's. Returns NULL. */
PyObject *set_error(int status);

#endif
