// SPDX-License-Identifier: GPL-2.0-or-later
/* Walker.sides(): parse, call the engine, wrap what it gives. */
#include "binding.h"

#include "sides.h"

/* SPAN_FORMAT and SIDE_FORMAT of module.c, "=3Q" and "=3QI2B2x", have these offsets. */
#define AT(type, member, offset) \
	_Static_assert(offsetof(struct type, member) == (offset), #member " in the format")
AT(pw_span, index, 0);
AT(pw_span, pages, 8);
AT(pw_span, address, 16);
AT(pw_side, index, 0);
AT(pw_side, pages, 8);
AT(pw_side, paddr, 16);
AT(pw_side, span, 24);
AT(pw_side, kind, 28);
AT(pw_side, same, 29);
_Static_assert(sizeof(struct pw_span) == 24 && sizeof(struct pw_side) == 32, "size of the formats");
#undef AT

static int keep_sides(void *arg, const struct pw_side *sides, size_t count)
{
	return words_keep(arg, sides, count * sizeof(*sides));
}

/* Whether a buffer is an array of records that C can use in place. */
static bool is_array(const Py_buffer *buffer, size_t record)
{
	if (!buffer->len || ((size_t)buffer->len % record == 0 &&
			     (uintptr_t)buffer->buf % sizeof(uint64_t) == 0))
		return true;
	PyErr_Format(PyExc_ValueError, "spans and expected must be aligned records, here of %zu bytes",
		     record);
	return false;
}

PyObject *walker_sides(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "root", "spans", "expected", "max_entries", NULL };
	struct walker *walker = (struct walker *)self;
	Py_buffer spans = { 0 }, expected = { 0 };
	uint64_t roots[2], max_entries = 0, stopped_at = 0;
	struct pw_words all = { 0 };
	struct call call;
	PyObject *ret = NULL;
	int err;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&y*|z*$O&:sides", names, to_roots, roots,
					 &spans, &expected, to_u64, &max_entries))
		return NULL;
	if (!is_array(&spans, sizeof(struct pw_span)) || !is_array(&expected, sizeof(struct pw_side)))
		goto out;
	call_init(&call, walker);
	call_release_gil(&call);
	err = pw_sides(&walker->paging, &call.memory, roots, spans.buf,
		       (size_t)spans.len / sizeof(struct pw_span), expected.buf,
		       (size_t)expected.len / sizeof(struct pw_side), max_entries, keep_sides, &all,
		       &stopped_at);
	call_take_gil(&call);
	if (err && err != PW_TOO_MUCH_WORK) {
		set_error(err);
		goto out;
	}
	ret = Py_BuildValue("(y#N)", all.words ? (const char *)all.words : "",
			    (Py_ssize_t)(all.count * sizeof(*all.words)),
			    err ? PyLong_FromUnsignedLongLong(stopped_at) : Py_NewRef(Py_None));
out:
	words_free(&all);
	PyBuffer_Release(&spans);
	PyBuffer_Release(&expected);
	return ret;
}
