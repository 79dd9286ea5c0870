// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls into the engine: its callback, and the GIL. */
#include "binding.h"

#include <string.h>

#include "filememory.h"

#define CALLBACK_FAILED (-1)
/* Reads without the callable between two checks for Ctrl-C: some milliseconds. */
#define READS_PER_CHECK 1024

/* Take the callable's answer: bytes of the right length, or the number of a kind. */
static int take_answer(PyObject *answer, void *data, size_t length)
{
	Py_buffer view;
	bool fits;

	if (PyLong_Check(answer)) {
		long kind = PyLong_AsLong(answer);

		if (kind == PW_EXCLUDED || kind == PW_ZERO_FILLED || kind == PW_UNREADABLE)
			return (int)kind;
		if (!PyErr_Occurred())
			PyErr_Format(PyExc_ValueError, "read() returned %ld, which is not the number of a gap", kind);
		return CALLBACK_FAILED;
	}
	if (PyObject_GetBuffer(answer, &view, PyBUF_SIMPLE))
		return CALLBACK_FAILED;
	fits = (size_t)view.len == length;
	if (fits)
		memcpy(data, view.buf, length);
	else
		PyErr_Format(PyExc_ValueError, "read() returned %zd bytes instead of %zu", view.len,
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
	/* A long sweep must react to Ctrl-C, and only here is the GIL held. */
	if (err >= 0 && PyErr_CheckSignals())
		err = CALLBACK_FAILED;
	if (released)
		call_release_gil(call);
	return err;
}

/* Whether Ctrl-C ended the call. */
static bool is_interrupted(struct call *call)
{
	bool interrupted;

	if (!call->thread || ++call->reads < READS_PER_CHECK)
		return false;
	call->reads = 0;
	call_take_gil(call);
	interrupted = PyErr_CheckSignals();
	call_release_gil(call);
	return interrupted;
}

/* Read without the GIL what is in a dump or a file, and call the callable for the rest. */
static int read_here(void *arg, uint64_t paddr, void *data, size_t length)
{
	struct call *call = arg;
	const struct walker *walker = call->walker;

	if (is_interrupted(call))
		return CALLBACK_FAILED;
	if (walker->kdump && kdump_read_page(walker->kdump, paddr, data, length))
		return 0;
	if (walker->file && pw_file_read(file_memory_of(walker->file), paddr, data, length))
		return 0;
	return walker->read ? read_by_callable(arg, paddr, data, length) : PW_UNREADABLE;
}

void call_init(struct call *call, const struct walker *walker)
{
	*call = (struct call){ .walker = walker };
	call->memory.direct = walker->direct;
	call->memory.direct_count = (size_t)walker->views_count;
	call->memory.read = walker->read ? read_by_callable : NULL;
	if (walker->kdump || walker->file)
		call->memory.read = read_here;
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
