// SPDX-License-Identifier: GPL-2.0-or-later
/* Symbols and types of a kernel without debug info, by name; see pageproof_pagewalk_btf.pyi. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

#include "btf.h"

struct names {
	PyObject_HEAD
	struct btf_symbols symbols;
};

struct types {
	PyObject_HEAD
	struct btf_types types;
	Py_buffer own, base;		/* strings, which the index points into */
};

/* The text of an error in the input, which the caller adds a place to. */
static PyObject *set_status(enum btf_status status, size_t at)
{
	static const char *const text[] = {
		[BTF_NAMES_END] = "its names end too early",
		[BTF_NAMES_LONG] = "its names are too long",
		[BTF_NAME_EMPTY] = "a name is empty",
		[BTF_MANY] = "it has too many symbols",
	};

	if (status == BTF_NO_MEMORY)
		return PyErr_NoMemory();
	if (status == BTF_NO_LINE)
		PyErr_Format(PyExc_ValueError, "byte %zu begins no line of a table of symbols", at);
	else if (status == BTF_KIND)
		PyErr_Format(PyExc_ValueError, "byte %zu of its types begins a type of unknown kind", at);
	else if (status == BTF_TYPES_END)
		PyErr_Format(PyExc_ValueError, "its types do not end where the last one does, at byte %zu",
			     at);
	else
		PyErr_SetString(PyExc_ValueError, text[status]);
	return NULL;
}

/* The hits of a name as a list. number_of: what a hit stands for, or NULL. */
static PyObject *find(const struct btf_index *index, PyObject *args, const uint32_t *number_of)
{
	PyObject *ret = PyList_New(0);
	const char *name;
	size_t number = 0;
	int hits = 0;

	if (!ret || !PyArg_ParseTuple(args, "y:find", &name))
		goto err;
	while (*name && (number = btf_index_next(index, name, number)) && hits++ < BTF_MOST_HITS) {
		PyObject *one = PyLong_FromSize_t(number_of ? number_of[number - 1] : number - 1);
		const int failed = one ? PyList_Append(ret, one) : -1;

		Py_XDECREF(one);
		if (failed)
			goto err;
	}
	return ret;
err:
	Py_XDECREF(ret);
	return NULL;
}

static PyObject *wrap_names(PyObject *module, struct btf_symbols *symbols)
{
	struct state *state = PyModule_GetState(module);
	struct names *ret = (struct names *)PyType_GenericAlloc((PyTypeObject *)state->names_type, 0);

	if (ret)
		ret->symbols = *symbols;
	else
		btf_symbols_deinit(symbols);
	return (PyObject *)ret;
}

PyObject *unpack_symbols(PyObject *module, PyObject *args)
{
	struct btf_token tokens[256];
	struct btf_symbols symbols = { 0 };
	PyObject *list;
	Py_buffer packed;
	uint32_t count;
	enum btf_status status;

	if (!PyArg_ParseTuple(args, "y*O&O!:unpack_symbols", &packed, to_u32, &count, &PyTuple_Type,
			      &list))
		return NULL;
	if (PyTuple_Size(list) != 256 || count > BTF_MOST_SYMBOLS) {
		PyErr_SetString(PyExc_ValueError, "there must be 256 tokens, and at most 2^21 symbols");
		goto err;
	}
	for (int i = 0; i < 256; i++) {
		PyObject *token = PyTuple_GetItem(list, i);
		Py_ssize_t length;
		char *text;

		if (PyBytes_AsStringAndSize(token, &text, &length))
			goto err;
		if (strlen(text) != (size_t)length || length > UINT16_MAX) {
			PyErr_SetString(PyExc_ValueError, "a token has a NUL, or is too long");
			goto err;
		}
		tokens[i] = (struct btf_token){ text, (size_t)length };
	}
	status = btf_symbols_unpack(packed.buf, (size_t)packed.len, count, tokens, &symbols);
	PyBuffer_Release(&packed);
	return status ? set_status(status, 0) : wrap_names(module, &symbols);
err:
	PyBuffer_Release(&packed);
	return NULL;
}

static PyObject *wrap_addresses(PyObject *module, uint64_t *addresses, size_t count)
{
	struct pw_words words = { .words = addresses, .count = count, .room = count };
	PyObject *ret = words_view(PyModule_GetState(module), &words);

	words_free(&words);
	return ret;
}

PyObject *parse_symbols(PyObject *module, PyObject *args)
{
	struct btf_symbols symbols = { 0 };
	enum btf_status status;
	uint64_t shift, *addresses;
	PyObject *view, *names, *ret = NULL;
	Py_buffer text;
	size_t at = 0;

	if (!PyArg_ParseTuple(args, "y*O&:parse_symbols", &text, to_u64, &shift))
		return NULL;
	status = btf_symbols_parse(text.buf, (size_t)text.len, shift, &symbols, &at);
	PyBuffer_Release(&text);
	if (status)
		return set_status(status, at);
	addresses = symbols.addresses;
	symbols.addresses = NULL;
	view = wrap_addresses(module, addresses, symbols.index.count);
	names = wrap_names(module, &symbols);
	if (view && names)
		ret = PyTuple_Pack(2, view, names);
	Py_XDECREF(view);
	Py_XDECREF(names);
	return ret;
}

PyObject *symbol_addresses(PyObject *module, PyObject *args)
{
	uint64_t base, *addresses;
	Py_buffer offsets;
	uint32_t form;
	size_t count;
	bool sorted;

	if (!PyArg_ParseTuple(args, "y*O&O&:symbol_addresses", &offsets, to_u32, &form, to_u64, &base))
		return NULL;
	count = (size_t)offsets.len / 4;
	addresses = malloc((count + 1) * sizeof(*addresses));
	if (!addresses || form > BTF_OFFSETS_PLACE) {
		PyBuffer_Release(&offsets);
		free(addresses);
		if (addresses)
			PyErr_SetString(PyExc_ValueError, "unknown form of offsets");
		return addresses ? NULL : PyErr_NoMemory();
	}
	sorted = btf_addresses(offsets.buf, count, form, base, addresses);
	PyBuffer_Release(&offsets);
	if (sorted)
		return wrap_addresses(module, addresses, count);
	free(addresses);
	Py_RETURN_NONE;
}

static Py_ssize_t names_length(PyObject *self)
{
	return (Py_ssize_t)((struct names *)self)->symbols.index.count;
}

static PyObject *names_find(PyObject *self, PyObject *args)
{
	return find(&((struct names *)self)->symbols.index, args, NULL);
}

static PyObject *names_name(PyObject *self, PyObject *args)
{
	const struct btf_index *index = &((struct names *)self)->symbols.index;
	uint32_t number;

	if (!PyArg_ParseTuple(args, "O&:name", to_u32, &number))
		return NULL;
	if (number >= index->count) {
		PyErr_SetString(PyExc_IndexError, "no such symbol");
		return NULL;
	}
	return PyBytes_FromString(index->names[number] - 1); /* the letter is before it */
}

static void names_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	btf_symbols_deinit(&((struct names *)self)->symbols);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef names_methods[] = {
	{ "find", names_find, METH_VARARGS, NULL },
	{ "name", names_name, METH_VARARGS, NULL },
	{ 0 },
};

static PyType_Slot names_slots[] = {
	{ Py_tp_dealloc, names_dealloc },
	{ Py_tp_methods, names_methods },
	{ Py_sq_length, names_length },
	{ 0 },
};

PyType_Spec names_spec = {
	.name = "pageproof_pagewalk.SymbolNames",
	.basicsize = sizeof(struct names),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = names_slots,
};

static bool ends(const Py_buffer *strings)
{
	return !strings->len || !((const char *)strings->buf)[strings->len - 1];
}

static PyObject *types_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *keys[] = { "types", "strings", "base", NULL };
	Py_buffer data = { 0 }, own = { 0 }, base = { 0 };
	struct btf_types found = { 0 };
	struct types *ret = NULL;
	enum btf_status status;
	size_t at = 0;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*y*y*:TypeIndex", keys, &data, &own, &base))
		return NULL;
	if (data.len % 4 || data.len > UINT32_MAX || !ends(&own) || !ends(&base)) {
		PyErr_SetString(PyExc_ValueError, "types must be whole words, and strings end with a NUL");
		goto out;
	}
	status = btf_types_init(data.buf, (size_t)data.len,
				&(struct btf_strings){ base.buf, own.buf, (size_t)base.len,
						       (size_t)own.len },
				&found, &at);
	if (status) {
		set_status(status, at);
		goto out;
	}
	ret = (struct types *)PyType_GenericAlloc(type, 0);
	if (ret) {
		ret->types = found;
		ret->own = own;
		ret->base = base;
		own = base = (Py_buffer){ 0 };
	} else {
		btf_types_deinit(&found);
	}
out:
	PyBuffer_Release(&data);
	PyBuffer_Release(&own);
	PyBuffer_Release(&base);
	return (PyObject *)ret;
}

static Py_ssize_t types_length(PyObject *self)
{
	return (Py_ssize_t)((struct types *)self)->types.count;
}

static PyObject *types_place(PyObject *self, PyObject *args)
{
	const struct btf_types *types = &((struct types *)self)->types;
	uint32_t number;

	if (!PyArg_ParseTuple(args, "O&:place", to_u32, &number))
		return NULL;
	if (number >= types->count) {
		PyErr_SetString(PyExc_IndexError, "no such type");
		return NULL;
	}
	return PyLong_FromUnsignedLong(types->at[number]);
}

static PyObject *types_find(PyObject *self, PyObject *args)
{
	return find(&((struct types *)self)->types.index, args, NULL);
}

static PyObject *types_enumerations(PyObject *self, PyObject *args)
{
	const struct btf_types *types = &((struct types *)self)->types;

	return find(&types->enumerators, args, types->enumerations);
}

static PyObject *types_has_signed(PyObject *self, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(((struct types *)self)->types.has_signed);
}

static void types_dealloc(PyObject *self)
{
	struct types *types = (struct types *)self;
	PyTypeObject *type = Py_TYPE(self);

	btf_types_deinit(&types->types);
	PyBuffer_Release(&types->own);
	PyBuffer_Release(&types->base);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef types_methods[] = {
	{ "place", types_place, METH_VARARGS, NULL },
	{ "find", types_find, METH_VARARGS, NULL },
	{ "enumerations", types_enumerations, METH_VARARGS, NULL },
	{ "has_signed", types_has_signed, METH_NOARGS, NULL },
	{ 0 },
};

static PyType_Slot types_slots[] = {
	{ Py_tp_new, types_new },
	{ Py_tp_dealloc, types_dealloc },
	{ Py_tp_methods, types_methods },
	{ Py_sq_length, types_length },
	{ 0 },
};

PyType_Spec types_spec = {
	.name = "pageproof_pagewalk.TypeIndex",
	.basicsize = sizeof(struct types),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = types_slots,
};
