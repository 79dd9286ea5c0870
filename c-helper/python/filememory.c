// SPDX-License-Identifier: GPL-2.0-or-later
/* FileMemory: memory in a file, which threads read without the GIL. */
#include "binding.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "filememory.h"

struct file_memory {
	PyObject_HEAD
	struct pw_file_memory memory;
	struct pw_file_part *parts;	/* what memory points at */
};

/* Parts: paddr, length, offset in the file. Sorted and apart. */
static struct pw_file_part *parse_parts(const Py_buffer *parts, size_t *ret)
{
	const size_t count = (size_t)parts->len / sizeof(struct pw_file_part);
	struct pw_file_part *to = PyMem_Calloc(count + 1, sizeof(*to));

	_Static_assert(sizeof(*to) == 3 * sizeof(uint64_t), "parts are three numbers each");
	if (!to)
		return (struct pw_file_part *)PyErr_NoMemory();
	memcpy(to, parts->buf, count * sizeof(*to));
	for (size_t i = 0; i < count; i++) {
		if (to[i].length > INT64_MAX || to[i].offset > INT64_MAX - to[i].length ||
		    to[i].paddr > UINT64_MAX - to[i].length ||
		    (i && to[i].paddr < to[i - 1].paddr + to[i - 1].length)) {
			PyErr_SetString(PyExc_ValueError, "parts must be sorted, apart and in a file");
			PyMem_Free(to);
			return NULL;
		}
	}
	*ret = count;
	return to;
}

static PyObject *file_memory_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "descriptor", "parts", NULL };
	struct file_memory *file = NULL;
	struct pw_file_part *parts;
	Py_buffer view = { 0 };
	int descriptor;
	size_t count = 0;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "iy*:FileMemory", names, &descriptor, &view))
		return NULL;
	parts = parse_parts(&view, &count);
	PyBuffer_Release(&view);
	if (!parts)
		return NULL;
	descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
	if (descriptor < 0)
		PyErr_SetFromErrno(PyExc_OSError);
	else
		file = (struct file_memory *)PyType_GenericAlloc(type, 0);
	if (!file) {
		if (descriptor >= 0)
			close(descriptor);
		PyMem_Free(parts);
		return NULL;
	}
	file->memory = (struct pw_file_memory){ parts, count, descriptor };
	file->parts = parts;
	return (PyObject *)file;
}

static PyObject *file_memory_read(PyObject *self, PyObject *args)
{
	Py_ssize_t length;
	uint64_t paddr;
	PyObject *data;
	char *bytes;

	if (!PyArg_ParseTuple(args, "O&n:read", to_u64, &paddr, &length))
		return NULL;
	if (length < 0) {
		PyErr_SetString(PyExc_ValueError, "length must not be negative");
		return NULL;
	}
	data = PyBytes_FromStringAndSize(NULL, length);
	bytes = data ? PyBytes_AsString(data) : NULL;
	if (!bytes)
		return NULL;
	if (pw_file_read(file_memory_of(self), paddr, bytes, (size_t)length))
		return data;
	Py_DECREF(data);
	Py_RETURN_NONE;
}

const struct pw_file_memory *file_memory_of(PyObject *file)
{
	return &((struct file_memory *)file)->memory;
}

static void file_memory_dealloc(PyObject *self)
{
	struct file_memory *file = (struct file_memory *)self;
	PyTypeObject *type = Py_TYPE(self);

	close(file->memory.descriptor);
	PyMem_Free(file->parts);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef file_memory_methods[] = {
	{ "read", file_memory_read, METH_VARARGS, NULL },
	{ 0 },
};

static PyType_Slot file_memory_slots[] = {
	{ Py_tp_new, file_memory_new },
	{ Py_tp_dealloc, file_memory_dealloc },
	{ Py_tp_methods, file_memory_methods },
	{ 0 },
};

PyType_Spec file_memory_spec = {
	.name = "pageproof_pagewalk.FileMemory",
	.basicsize = sizeof(struct file_memory),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = file_memory_slots,
};
