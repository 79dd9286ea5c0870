// SPDX-License-Identifier: GPL-2.0-or-later
/* Structures: parse, call the engine, wrap what it gives. */
#include "binding.h"

struct structures {
	PyObject_HEAD
	PyObject *walker;
	struct pw_kernel kernel;	/* less its memory, which is made for each call */
};

/* Parse (offset, bytes), ... */
static int to_fields(PyObject *tuple, void *ret)
{
	struct pw_fields *fields = ret;
	Py_ssize_t count = PyTuple_Check(tuple) ? PyTuple_Size(tuple) : 0;

	if (count < 1 || count > PW_MAX_FIELDS) {
		PyErr_Format(PyExc_ValueError, "fields must be a tuple of 1 to %d pairs", PW_MAX_FIELDS);
		return 0;
	}
	fields->count = (unsigned int)count;
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *pair = PyTuple_GetItem(tuple, i);
		struct pw_field *field = &fields->field[i];

		if (!PyTuple_Check(pair)) {
			PyErr_SetString(PyExc_TypeError, "a field must be a tuple of offset and bytes");
			return 0;
		}
		if (!PyArg_ParseTuple(pair, "O&O&;a field must be offset and bytes", to_u32,
				      &field->offset, to_u32, &field->bytes))
			return 0;
	}
	return 1;
}

static int to_maple_node(PyObject *tuple, void *ret)
{
	struct pw_maple_node *node = ret;

	if (!PyTuple_Check(tuple)) {
		PyErr_SetString(PyExc_TypeError, "a node of a maple tree must be a tuple");
		return 0;
	}
	return PyArg_ParseTuple(tuple, "O&O&O&O&;a node must be pivot, pivots, slot, end", to_u32,
				&node->pivot, to_u32, &node->pivots, to_u32, &node->slot, to_u32,
				&node->end);
}

/* Parse the layouts of a maple tree's nodes, or the offset of vm_next. */
static bool parse_tree(PyObject *tree, struct pw_mm_layout *layout)
{
	if (PyTuple_Check(tree))
		return PyArg_ParseTuple(tree, "O&O&;a tree must be two nodes", to_maple_node,
					&layout->range, to_maple_node, &layout->arange);
	layout->list = true;
	return to_u32(tree, &layout->next);
}

static int to_mm_layout(PyObject *tuple, void *ret)
{
	struct pw_mm_layout *layout = ret;
	PyObject *tree;

	if (!PyTuple_Check(tuple)) {
		PyErr_SetString(PyExc_TypeError, "layout must be a tuple");
		return 0;
	}
	return PyArg_ParseTuple(tuple, "O&O&O&OO&;layout must be pgd, map_count, first, tree, fields",
				to_u32, &layout->pgd, to_u32, &layout->map_count, to_u32,
				&layout->first, &tree, to_fields, &layout->fields) &&
	       parse_tree(tree, layout);
}

static int to_xa_layout(PyObject *tuple, void *ret)
{
	struct pw_xa_layout *layout = ret;

	if (!PyTuple_Check(tuple)) {
		PyErr_SetString(PyExc_TypeError, "layout must be a tuple");
		return 0;
	}
	return PyArg_ParseTuple(tuple, "O&O&O&;layout must be shift, slots, count", to_u32,
				&layout->shift, to_u32, &layout->slots, to_u32, &layout->count);
}

/* Get a column of words, which need not be contiguous. The caller releases the view. */
static bool get_column(PyObject *object, Py_buffer *view, struct pw_column *ret)
{
	if (PyObject_GetBuffer(object, view, PyBUF_STRIDED_RO))
		return false;
	if (view->ndim == 1 && view->itemsize == 8) {
		*ret = (struct pw_column){ view->buf, (size_t)view->shape[0], view->strides[0] };
		return true;
	}
	if (view->ndim == 1 && view->itemsize == 1 && view->strides[0] == 1 && !(view->len % 8)) {
		*ret = (struct pw_column){ view->buf, (size_t)view->len / 8, 8 };
		return true;
	}
	PyBuffer_Release(view);
	PyErr_SetString(PyExc_ValueError, "the buffer must have one dimension and items of 8 bytes");
	return false;
}

static int set_structs_error(int err)
{
	if (err == PW_BAD_ARGUMENT)
		PyErr_SetString(PyExc_ValueError, "the layout is not valid: a size, or an offset "
				"outside its structure");
	else
		set_error(err);
	return -1;
}

/* Begin a call: the engine's view of memory. The kernel that it uses is a copy. */
static struct pw_kernel begin(PyObject *self, struct call *call)
{
	struct structures *structures = (struct structures *)self;
	struct pw_kernel kernel = structures->kernel;

	call_init(call, (struct walker *)structures->walker);
	kernel.memory = &call->memory;
	return kernel;
}

static PyObject *structures_gather(PyObject *self, PyObject *args)
{
	struct state *state = PyType_GetModuleState(Py_TYPE(self));
	struct pw_words rows = { 0 }, faults = { 0 };
	struct pw_kernel kernel;
	struct pw_fields fields;
	struct pw_column column;
	struct call call;
	PyObject *addresses, *ret = NULL;
	Py_buffer view;
	int err;

	if (!state || !PyArg_ParseTuple(args, "OO&:gather", &addresses, to_fields, &fields) ||
	    !get_column(addresses, &view, &column))
		return NULL;
	kernel = begin(self, &call);
	call_release_gil(&call);
	err = pw_gather(&kernel, &column, &fields, &rows, &faults);
	call_take_gil(&call);
	PyBuffer_Release(&view);
	if (!err)
		ret = Py_BuildValue("(NN)", words_view(state, &rows), words_view(state, &faults));
	else
		set_structs_error(err);
	words_free(&rows);
	words_free(&faults);
	return ret;
}

static PyObject *structures_vmas(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "", "", "still", "max_nodes", "max_vmas", "max_records", NULL };
	struct state *state = PyType_GetModuleState(Py_TYPE(self));
	struct pw_vma_result result = { 0 };
	struct pw_vma_limits limits = { 0 };
	struct pw_mm_layout layout = { 0 };
	struct pw_kernel kernel;
	struct pw_column column;
	struct call call;
	PyObject *mms, *ret = NULL;
	Py_buffer view;
	int still = 0, err;

	if (!state ||
	    !PyArg_ParseTupleAndKeywords(args, keywords, "OO&|$pO&O&O&:vmas", names, &mms,
					 to_mm_layout, &layout, &still, to_u64, &limits.nodes, to_u64,
					 &limits.vmas, to_u64, &limits.records) ||
	    !get_column(mms, &view, &column))
		return NULL;
	limits.still = still;
	kernel = begin(self, &call);
	call_release_gil(&call);
	err = pw_vmas(&kernel, &column, &layout, &limits, &result);
	call_take_gil(&call);
	PyBuffer_Release(&view);
	if (!err)
		ret = Py_BuildValue("(NNNN)", words_view(state, &result.mms),
				    words_view(state, &result.vmas),
				    words_view(state, &result.faults),
				    words_view(state, &result.losses));
	else
		set_structs_error(err);
	pw_vma_result_deinit(&result);
	return ret;
}

/* The losses that were kept, as words. */
static PyObject *wrap_losses(struct state *state, const struct pw_losses *losses)
{
	size_t count = losses->count < PW_LOSSES_KEPT ? (size_t)losses->count : PW_LOSSES_KEPT;
	struct pw_words words = { 0 };
	PyObject *ret;

	if (!words_copy(&words, losses->kept, count * PW_LOSS_WORDS))
		return PyErr_NoMemory();
	ret = words_view(state, &words);
	words_free(&words);
	return ret;
}

static PyObject *structures_xarray(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "", "", "step", "max_nodes", "max_runs", NULL };
	struct state *state = PyType_GetModuleState(Py_TYPE(self));
	uint64_t head, step = 0, max_nodes = 0, max_runs = 0;
	struct pw_losses losses = { 0 };
	struct pw_words runs = { 0 };
	struct pw_xa_layout layout;
	struct pw_kernel kernel;
	struct call call;
	PyObject *ret = NULL;
	int err;

	if (!state ||
	    !PyArg_ParseTupleAndKeywords(args, keywords, "O&O&|O&$O&O&:xarray", names, to_u64, &head,
					 to_xa_layout, &layout, to_u64, &step, to_u64, &max_nodes,
					 to_u64, &max_runs))
		return NULL;
	kernel = begin(self, &call);
	call_release_gil(&call);
	err = pw_xarray(&kernel, head, &layout, step, max_nodes, max_runs, &runs, &losses);
	call_take_gil(&call);
	if (!err)
		ret = Py_BuildValue("(NNK)", words_view(state, &runs), wrap_losses(state, &losses),
				    (unsigned long long)losses.count);
	else
		set_structs_error(err);
	words_free(&runs);
	return ret;
}

static PyObject *structures_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "", "", "", NULL };
	struct state *state = PyType_GetModuleState(type);
	struct pw_kernel kernel = { 0 };
	struct structures *structures;
	PyObject *walker;

	if (!state ||
	    !PyArg_ParseTupleAndKeywords(args, keywords, "O!O&(O&O&O&):Structures", names,
					 (PyTypeObject *)state->walker_type, &walker, to_roots,
					 kernel.roots, to_u64, &kernel.direct_first, to_u64,
					 &kernel.direct_last, to_u64, &kernel.direct_paddr))
		return NULL;
	kernel.paging = &((struct walker *)walker)->paging;
	if (!pw_kernel_valid(&kernel)) {
		PyErr_SetString(PyExc_ValueError, "the direct map must begin with a whole page");
		return NULL;
	}
	structures = (struct structures *)PyType_GenericAlloc(type, 0);
	if (!structures)
		return NULL;
	structures->walker = Py_NewRef(walker);
	structures->kernel = kernel;
	return (PyObject *)structures;
}

static int structures_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(((struct structures *)self)->walker);
	return 0;
}

/* Has no tp_clear: a method that a finalizer calls needs the walker, which clears itself. */
static void structures_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	Py_XDECREF(((struct structures *)self)->walker);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef structures_methods[] = {
	{ "gather", structures_gather, METH_VARARGS, NULL },
	{ "vmas", (PyCFunction)(void (*)(void))structures_vmas, METH_VARARGS | METH_KEYWORDS, NULL },
	{ "xarray", (PyCFunction)(void (*)(void))structures_xarray, METH_VARARGS | METH_KEYWORDS,
	  NULL },
	{ 0 },
};

static PyType_Slot structures_slots[] = {
	{ Py_tp_new, structures_new },
	{ Py_tp_dealloc, structures_dealloc },
	{ Py_tp_traverse, structures_traverse },
	{ Py_tp_methods, structures_methods },
	{ 0 },
};

PyType_Spec structures_spec = {
	.name = "pageproof_pagewalk.Structures",
	.basicsize = sizeof(struct structures),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = structures_slots,
};
