// SPDX-License-Identifier: GPL-2.0-or-later
/* The module pageproof_pagewalk: its types and names. */
#include "binding.h"

#include "btf.h"
#include "watch.h"

#define MOST_CLASSES 32

/* Add a tuple of names by number. They come from the engine, so that no list exists twice. */
static int add_names(PyObject *module, const char *name, int count, const char *(*name_of)(int))
{
	PyObject *names = PyTuple_New(count);
	int err = names ? 0 : -1;

	for (int i = 0; !err && i < count; i++) {
		PyObject *text = PyUnicode_FromString(name_of(i));

		err = text ? PyTuple_SetItem(names, i, text) : -1;
	}
	if (!err)
		err = PyModule_AddObjectRef(module, name, names);
	Py_XDECREF(names);
	return err;
}

static const char *kind_name(int kind)
{
	return pw_kind_name((enum pw_kind)kind);
}

static const char *type_name(int type)
{
	return pw_x86_64_4_levels.memory_type[type];
}

static int add_type(PyObject *module, PyType_Spec *spec, PyObject **ret)
{
	*ret = PyType_FromModuleAndSpec(module, spec, NULL);
	return *ret ? PyModule_AddType(module, (PyTypeObject *)*ret) : -1;
}

static int module_exec(PyObject *module)
{
	struct state *state = PyModule_GetState(module);

	if (add_type(module, &form_spec, &state->form_type) ||
	    add_type(module, &walker_spec, &state->walker_type) ||
	    add_type(module, &index_spec, &state->index_type) ||
	    add_type(module, &structures_spec, &state->structures_type) ||
	    add_type(module, &words_spec, &state->words_type) ||
	    add_type(module, &kdump_spec, &state->kdump_type) ||
	    add_type(module, &file_memory_spec, &state->file_memory_type) ||
	    add_type(module, &watch_spec, &state->watch_type) ||
	    add_type(module, &names_spec, &state->names_type) ||
	    add_type(module, &types_spec, &state->types_type) ||
	    add_names(module, "KINDS", PW_KINDS, kind_name) ||
	    add_names(module, "MEMORY_TYPES", pw_x86_64_4_levels.memory_types, type_name) ||
	    PyModule_AddStringConstant(module, "RANGE_FORMAT", "=6Q4BI") ||
	    PyModule_AddStringConstant(module, "SPAN_FORMAT", "=3Q") ||
	    PyModule_AddStringConstant(module, "SIDE_FORMAT", "=3QI2B2x"))
		return -1;
#define ADD_WATCH(name) PyModule_AddIntConstant(module, #name, name)
	if (ADD_WATCH(WATCH_REGISTERS) || ADD_WATCH(WATCH_VALUE_BYTES) || ADD_WATCH(WATCH_USER) ||
	    ADD_WATCH(WATCH_WRITE) || ADD_WATCH(WATCH_EXACT))
		return -1;
#define ADD_BTF(name) PyModule_AddIntConstant(module, #name, BTF_##name)
	if (ADD_BTF(OFFSETS_PERCPU) || ADD_BTF(OFFSETS_BASE) || ADD_BTF(OFFSETS_PLACE))
		return -1;
#define ADD(name) PyModule_AddIntConstant(module, #name, PW_##name)
	return ADD(WRITE) || ADD(EXECUTE) || ADD(USER) || ADD(USER_EXECUTE) || ADD(ACCESS) ||
	       ADD(MERGE_NOTHING) || ADD(MERGE_FRAMES) || ADD(MERGE_LIKE) || ADD(INDEX_SPACES) ||
	       ADD(USE_SPECIAL) || ADD(USE_NORMAL) || ADD(FAULT_WORDS) || ADD(MM_WORDS) ||
	       ADD(VMA_WORDS) || ADD(RUN_WORDS) || ADD(LOSS_WORDS) || ADD(LOSSES_KEPT) ||
	       ADD(LOSS_MM) || ADD(LOSS_ROOT) || ADD(LOSS_NODE) || ADD(LOSS_LINK) ||
	       ADD(LOSS_NODE_TWICE) || ADD(LOSS_NODES) || ADD(LOSS_NODE_TYPE) ||
	       ADD(LOSS_NODE_SHIFT) || ADD(LOSS_ENTRY) || ADD(LOSS_INDEX) || ADD(LOSS_VMA_TWICE) ||
	       ADD(LOSS_CIRCLE) || ADD(LOSS_VMAS) || ADD(LOSS_CHANGING) || ADD(LOSS_MAP_COUNT)
		       ? -1 : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct state *state = PyModule_GetState(module);

	Py_VISIT(state->form_type);
	Py_VISIT(state->walker_type);
	Py_VISIT(state->index_type);
	Py_VISIT(state->structures_type);
	Py_VISIT(state->words_type);
	Py_VISIT(state->kdump_type);
	Py_VISIT(state->file_memory_type);
	Py_VISIT(state->watch_type);
	Py_VISIT(state->names_type);
	Py_VISIT(state->types_type);
	return 0;
}

static int module_clear(PyObject *module)
{
	struct state *state = PyModule_GetState(module);

	Py_CLEAR(state->form_type);
	Py_CLEAR(state->walker_type);
	Py_CLEAR(state->index_type);
	Py_CLEAR(state->structures_type);
	Py_CLEAR(state->words_type);
	Py_CLEAR(state->kdump_type);
	Py_CLEAR(state->file_memory_type);
	Py_CLEAR(state->watch_type);
	Py_CLEAR(state->names_type);
	Py_CLEAR(state->types_type);
	return 0;
}

/* Classes of records; each is (offset, mask, value, class). */
static PyObject *classify(PyObject *module, PyObject *args)
{
	struct pw_class classes[MOST_CLASSES];
	Py_buffer records = { 0 };
	Py_ssize_t bytes, count;
	unsigned char follows;
	PyObject *list, *ret = NULL;
	char *data;
	int err;

	(void)module;
	if (!PyArg_ParseTuple(args, "y*nO!b:classify", &records, &bytes, &PyTuple_Type, &list,
			      &follows))
		return NULL;
	count = PyTuple_Size(list);
	if (bytes <= 0 || count > MOST_CLASSES) {
		PyErr_SetString(PyExc_ValueError, "record_bytes must be positive, and classes at most 32");
		goto out;
	}
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *numbers = PyTuple_GetItem(list, i);
		struct pw_class *it = &classes[i];

		if (!PyTuple_Check(numbers)) {
			PyErr_SetString(PyExc_TypeError, "a class must be a tuple of four numbers");
			goto out;
		}
		if (!PyArg_ParseTuple(numbers, "O&O&O&b;a class must have four numbers", to_u32,
				      &it->offset, to_u64, &it->mask, to_u64, &it->value,
				      &it->class))
			goto out;
	}
	ret = PyBytes_FromStringAndSize(NULL, records.len / bytes);
	data = ret ? PyBytes_AsString(ret) : NULL;
	if (!data)
		goto out;
	err = pw_classify(records.buf, (size_t)(records.len / bytes), (size_t)bytes, classes,
			  (size_t)count, follows, (uint8_t *)data);
	if (err) {
		Py_CLEAR(ret);
		set_error(err);
	}
out:
	PyBuffer_Release(&records);
	return ret;
}

/* The number of debug registers that a field needs. */
static PyObject *pieces(PyObject *module, PyObject *args)
{
	uint64_t address;
	uint32_t length;

	(void)module;
	if (!PyArg_ParseTuple(args, "O&O&:watch_pieces", to_u64, &address, to_u32, &length))
		return NULL;
	return PyLong_FromUnsignedLong(watch_pieces(address, length));
}

static PyObject *is_emulated(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyBool_FromLong(watch_is_emulated());
}

static PyMethodDef module_methods[] = {
	{ "watch_pieces", pieces, METH_VARARGS, NULL },
	{ "watch_is_emulated", is_emulated, METH_NOARGS, NULL },
	{ "classify", classify, METH_VARARGS, NULL },
	{ "guard_mappings", guard_mappings, METH_VARARGS, NULL },
	{ "account_merge", account_merge, METH_VARARGS, NULL },
	{ "read_heads", read_heads, METH_VARARGS, NULL },
	{ "unpack_symbols", unpack_symbols, METH_VARARGS, NULL },
	{ "parse_symbols", parse_symbols, METH_VARARGS, NULL },
	{ "symbol_addresses", symbol_addresses, METH_VARARGS, NULL },
	{ 0 },
};

static PyModuleDef_Slot module_slots[] = {
	{ Py_mod_exec, module_exec },
	{ 0 },
};

static struct PyModuleDef module_def = {
	PyModuleDef_HEAD_INIT,
	.m_name = "pageproof_pagewalk",
	.m_doc = "The page-table engine in C; see pageproof_pagewalk.pyi.",
	.m_size = sizeof(struct state),
	.m_methods = module_methods,
	.m_slots = module_slots,
	.m_traverse = module_traverse,
	.m_clear = module_clear,
};

PyMODINIT_FUNC PyInit_pageproof_pagewalk(void);

PyMODINIT_FUNC PyInit_pageproof_pagewalk(void)
{
	return PyModuleDef_Init(&module_def);
}
