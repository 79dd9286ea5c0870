// SPDX-License-Identifier: GPL-2.0-or-later
/* Kdump: the pages of a compressed dump, which threads decompress without the GIL. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>
#ifdef PW_ZLIB
#include <zlib.h>
#endif

#include "kdump.h"

/* DUMP_DH_COMPRESSED_* of makedumpfile's diskdump_mod.h. */
#define KDUMP_ZLIB 0x1
#define KDUMP_LZO 0x2

struct kdump {
	PyObject_HEAD
	struct pw_kdump *kdump;
	Py_buffer file;
	PyObject *next;			/* a Kdump, or NULL */
};

#ifdef PW_ZLIB
static bool inflate_page(const void *data, size_t length, void *to, size_t room)
{
	uLongf got = room;

	return uncompress(to, &got, data, length) == Z_OK && got == room;
}
#endif

static const struct pw_codec codecs[] = {
#ifdef PW_ZLIB
	{ KDUMP_ZLIB, inflate_page },
#endif
	{ KDUMP_LZO, pw_lzo_decode },
	{ 0 },
};

/* Parts of the content: offset, length, offset in the file. Sorted and apart. */
static struct pw_direct *parse_parts(const Py_buffer *file, const Py_buffer *parts, size_t *ret)
{
	const size_t count = (size_t)parts->len / (3 * sizeof(uint64_t));
	struct pw_direct *to = calloc(count + 1, sizeof(*to));

	if (!to)
		return (struct pw_direct *)PyErr_NoMemory();
	for (size_t i = 0; i < count; i++) {
		uint64_t part[3];

		memcpy(part, (const char *)parts->buf + i * sizeof(part), sizeof(part));
		if (part[2] > (uint64_t)file->len || part[1] > (uint64_t)file->len - part[2] ||
		    part[0] > INT64_MAX - part[1] ||
		    (i && part[0] < to[i - 1].paddr + to[i - 1].length)) {
			PyErr_SetString(PyExc_ValueError, "parts must be sorted, apart and in the file");
			free(to);
			return NULL;
		}
		to[i] = (struct pw_direct){ part[0], part[1], (const char *)file->buf + part[2] };
	}
	*ret = count;
	return to;
}

static PyObject *kdump_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "file", "parts", "bitmap_at", "first", "end", "descriptors_at",
				 "next", NULL };
	struct state *state = PyType_GetModuleState(type);
	PyObject *next = Py_None;
	struct pw_kdump_layout layout;
	Py_buffer file = { 0 }, parts = { 0 };
	struct pw_direct *pieces = NULL;
	struct kdump *kdump = NULL;
	size_t count = 0;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*y*O&O&O&O&|O:Kdump", names, &file,
					 &parts, to_u64, &layout.bitmap_at, to_u64, &layout.first,
					 to_u64, &layout.end, to_u64, &layout.descriptors_at, &next))
		return NULL;
	if (!state)
		goto out;
	if (next != Py_None && !PyObject_TypeCheck(next, (PyTypeObject *)state->kdump_type)) {
		PyErr_SetString(PyExc_TypeError, "next must be a Kdump");
		goto out;
	}
	if (layout.end > UINT64_C(1) << 40 || layout.bitmap_at > INT64_MAX ||
	    layout.descriptors_at > INT64_MAX) {
		PyErr_SetString(PyExc_ValueError, "not the layout of a dump");
		goto out;
	}
	pieces = parse_parts(&file, &parts, &count);
	kdump = pieces ? (struct kdump *)PyType_GenericAlloc(type, 0) : NULL;
	if (!kdump)
		goto out;
	kdump->kdump = pw_kdump_create(pieces, count, &layout, codecs);
	if (kdump->kdump) {
		kdump->next = next == Py_None ? NULL : Py_NewRef(next);
		kdump->file = file;
		file = (Py_buffer){ 0 };
	} else {
		Py_CLEAR(kdump);
		PyErr_NoMemory();
	}
out:
	free(pieces);
	PyBuffer_Release(&file);
	PyBuffer_Release(&parts);
	return (PyObject *)kdump;
}

bool kdump_read_page(PyObject *kdump, uint64_t paddr, void *data, size_t length)
{
	for (; kdump; kdump = ((struct kdump *)kdump)->next)
		if (pw_kdump_read(((struct kdump *)kdump)->kdump, paddr, data, length))
			return true;
	return false;
}

static PyObject *kdump_read(PyObject *self, PyObject *args)
{
	unsigned char page[PW_KDUMP_PAGE];
	uint64_t paddr;

	if (!PyArg_ParseTuple(args, "O&:read", to_u64, &paddr))
		return NULL;
	if (!kdump_read_page(self, paddr & -(uint64_t)PW_KDUMP_PAGE, page, sizeof(page)))
		Py_RETURN_NONE;
	return PyBytes_FromStringAndSize((const char *)page, sizeof(page));
}

static void kdump_dealloc(PyObject *self)
{
	struct kdump *kdump = (struct kdump *)self;
	PyTypeObject *type = Py_TYPE(self);

	pw_kdump_destroy(kdump->kdump);
	PyBuffer_Release(&kdump->file);
	Py_XDECREF(kdump->next);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef kdump_methods[] = {
	{ "read", kdump_read, METH_VARARGS, NULL },
	{ 0 },
};

static PyType_Slot kdump_slots[] = {
	{ Py_tp_new, kdump_new },
	{ Py_tp_dealloc, kdump_dealloc },
	{ Py_tp_methods, kdump_methods },
	{ 0 },
};

PyType_Spec kdump_spec = {
	.name = "pageproof_pagewalk.Kdump",
	.basicsize = sizeof(struct kdump),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = kdump_slots,
};
