/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the extension's files share. Types and docstrings are in pageproof_pagewalk.pyi. */
#ifndef BINDING_H
#define BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "form.h"
#include "structs.h"

/* Kept by the module object, because each interpreter needs its own. */
struct state {
	PyObject *form_type;
	PyObject *walker_type;
	PyObject *index_type;
	PyObject *structures_type;
	PyObject *words_type;
	PyObject *kdump_type;
	PyObject *file_memory_type;
	PyObject *watch_type;
	PyObject *names_type;
	PyObject *types_type;
};

/* A paging form and memory. Never changes after its creation, so threads may share it. */
struct walker {
	PyObject_HEAD
	struct pw_paging paging;
	struct pw_swap_layout layout;
	PyObject *form;			/* a Form that paging points into, or NULL: a built-in one */
	PyObject *read;			/* callable or NULL */
	PyObject *kdump;		/* a Kdump, used before read, or NULL */
	PyObject *file;			/* a FileMemory, used before read, or NULL */
	struct pw_direct *direct;
	Py_buffer *views;		/* what direct points into */
	Py_ssize_t views_count;
};

/*
 * One call into the engine. thread: where the callback takes the GIL back; NULL while the GIL is
 * held.
 */
struct call {
	const struct walker *walker;
	PyThreadState *thread;
	unsigned int reads;		/* without the callable, since signals were checked */
	struct pw_memory memory;
};

extern PyType_Spec form_spec, walker_spec, index_spec, structures_spec, words_spec, kdump_spec;
extern PyType_Spec file_memory_spec, watch_spec, names_spec, types_spec;

/* arguments.c: converters for O& of PyArg_Parse. They return 1, or 0 with an exception set. */

/*
 * An int from 0 to 2^64 - 1, 2^32 - 1 or 255, else ValueError. PyArg_Parse's own K and I would drop
 * the high bits of a larger number, and its b raises OverflowError.
 */
int to_u64(PyObject *object, void *ret);
int to_u32(PyObject *object, void *ret);
int to_u8(PyObject *object, void *ret);
/* uint64_t[2]: the roots of both halves, from one number for both or a tuple of two. */
int to_roots(PyObject *object, void *ret);

/* call.c */
void call_init(struct call *call, const struct walker *walker);
void call_release_gil(struct call *call);
void call_take_gil(struct call *call);

/* sides.c: the method of Walker. */
PyObject *walker_sides(PyObject *self, PyObject *args, PyObject *keywords);

/* sweep.c: the ranges of a sweep. */

/* A pw_range_fn that appends to struct pw_words. */
int keep_ranges(void *arg, const struct pw_range *ranges, size_t count);
/*
 * The result of a sweep: a memoryview of the ranges, which then belong to it, the counts, and where it
 * stopped. Frees them otherwise.
 */
PyObject *wrap_sweep(PyObject *walker, struct pw_words *ranges,
		     const struct pw_sweep_stats *stats, int err);

/* account.c: methods, see pageproof_pagewalk.pyi. */
PyObject *walker_account(PyObject *self, PyObject *args, PyObject *keywords);
PyObject *account_merge(PyObject *module, PyObject *args);

/* btf.c: functions, see pageproof_pagewalk_btf.pyi. */
PyObject *unpack_symbols(PyObject *module, PyObject *args);
PyObject *parse_symbols(PyObject *module, PyObject *args);
PyObject *symbol_addresses(PyObject *module, PyObject *args);

/* kdump.c: read memory inside one page from a Kdump or those after it; false if none has it. */
bool kdump_read_page(PyObject *kdump, uint64_t paddr, void *data, size_t length);

/* filememory.c: the engine's reader in a FileMemory. It lives as long as the object. */
struct pw_file_memory;
const struct pw_file_memory *file_memory_of(PyObject *file);

/* guard.c, heads.c: functions, see pageproof_pagewalk.pyi. */
PyObject *guard_mappings(PyObject *module, PyObject *args);
PyObject *read_heads(PyObject *module, PyObject *args);

/* form.c: the engine's form in a Form. It lives as long as the object. */
const struct pw_form *form_of(PyObject *form);

/*
 * words.c: an array of the engine as a memoryview of words, or of bytes, which takes the array.
 * Returns NULL with an exception set.
 */
PyObject *words_view(struct state *state, struct pw_words *words);
PyObject *bytes_view(struct state *state, struct pw_words *words);
void words_free(struct pw_words *words);
/* Returns false if there is no memory. */
bool words_copy(struct pw_words *words, const void *from, size_t count);
/* Append whole words. For hooks of the engine: returns 0, or a number that set_error() knows. */
int words_keep(struct pw_words *words, const void *from, size_t bytes);

/* error.c: turns the engine's errors into Python's. Returns NULL. */
PyObject *set_error(int status);

#endif
