// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's arrays of words as memoryviews, without a copy. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

/* What a memoryview looks into. Python code sees the view only. */
struct words {
	PyObject_HEAD
	uint64_t *words;
	Py_ssize_t count, stride;	/* items of the view, and bytes of one */
};

void words_free(struct pw_words *words)
{
	free(words->words);
	*words = (struct pw_words){ 0 };
}

bool words_copy(struct pw_words *words, const void *from, size_t count)
{
	words->words = malloc(count * sizeof(uint64_t) + !count);
	if (!words->words)
		return false;
	memcpy(words->words, from, count * sizeof(uint64_t));
	words->count = words->room = count;
	return true;
}

int words_keep(struct pw_words *words, const void *from, size_t bytes)
{
	uint64_t *to;

	if (!bytes)
		return 0;
	to = pw_words_add(words, bytes / sizeof(uint64_t));
	if (!to)
		return -PW_NO_MEMORY;
	memcpy(to, from, bytes);
	return 0;
}

static PyObject *view_of(struct state *state, struct pw_words *from, size_t item_bytes)
{
	struct words *words = (struct words *)PyType_GenericAlloc((PyTypeObject *)state->words_type, 0);
	PyObject *ret;

	if (!words)
		return NULL;
	words->words = from->words;
	words->count = (Py_ssize_t)(from->count * (sizeof(uint64_t) / item_bytes));
	words->stride = (Py_ssize_t)item_bytes;
	*from = (struct pw_words){ 0 };
	ret = PyMemoryView_FromObject((PyObject *)words);
	Py_DECREF(words);
	return ret;
}

PyObject *words_view(struct state *state, struct pw_words *words)
{
	return view_of(state, words, sizeof(uint64_t));
}

PyObject *bytes_view(struct state *state, struct pw_words *words)
{
	return view_of(state, words, 1);
}

static int words_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	static char of_words[] = "Q", of_bytes[] = "B";
	struct words *words = (struct words *)self;

	if (flags & PyBUF_WRITABLE) {
		PyErr_SetString(PyExc_BufferError, "results are read-only");
		view->obj = NULL;
		return -1;
	}
	*view = (Py_buffer){
		.buf = words->words ? (void *)words->words : (void *)words,
		.obj = Py_NewRef(self),
		.len = words->count * words->stride,
		.itemsize = words->stride,
		.readonly = 1,
		.ndim = 1,
		.format = !(flags & PyBUF_FORMAT) ? NULL : words->stride == 1 ? of_bytes : of_words,
		.shape = flags & PyBUF_ND ? &words->count : NULL,
		.strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &words->stride : NULL,
	};
	return 0;
}

static void words_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	free(((struct words *)self)->words);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyType_Slot words_slots[] = {
	{ Py_tp_dealloc, words_dealloc },
	{ Py_bf_getbuffer, words_getbuffer },
	{ 0 },
};

PyType_Spec words_spec = {
	.name = "pageproof_pagewalk.Words",
	.basicsize = sizeof(struct words),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = words_slots,
};
