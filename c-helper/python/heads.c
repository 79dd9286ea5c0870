// SPDX-License-Identifier: GPL-2.0-or-later
/* read_heads(): the beginnings of another process's pages, read without the GIL. */
#include "binding.h"

#include <errno.h>

#include "heads.h"

/* A call copies at most this much, so that it ends soon. */
#define MOST_BYTES ((uint64_t)1 << 30)

PyObject *read_heads(PyObject *module, PyObject *args)
{
	uint32_t pages, page_bytes, bytes;
	PyObject *ret;
	uint64_t address;
	char *data;
	int pid, err;

	(void)module;
	if (!PyArg_ParseTuple(args, "iO&O&O&O&:read_heads", &pid, to_u64, &address, to_u32, &pages,
			      to_u32, &page_bytes, to_u32, &bytes))
		return NULL;
	if (!bytes || bytes > page_bytes || (uint64_t)pages * bytes > MOST_BYTES ||
	    (uint64_t)pages * page_bytes > UINT64_MAX - address) {
		PyErr_SetString(PyExc_ValueError, "too many pages, or more bytes than a page has");
		return NULL;
	}
	ret = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)((uint64_t)pages * bytes));
	data = ret ? PyBytes_AsString(ret) : NULL;
	if (!data)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	err = pw_read_heads(pid, address, pages, page_bytes, bytes, data);
	Py_END_ALLOW_THREADS
	if (err) {
		Py_DECREF(ret);
		errno = -err;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	return ret;
}
