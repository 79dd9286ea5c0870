// SPDX-License-Identifier: GPL-2.0-or-later
/* Watch: hardware breakpoints of this machine; see pageproof_pagewalk_watch.pyi. */
#include "binding.h"

#include <errno.h>
#include <string.h>

#include "watch.h"

#define MOST_CPUS 65536
#define MOST_RING_BYTES (1 << 30)
/* Records of one read(): it returns in milliseconds. */
#define READ_RECORDS 4096

struct watch_object {
	PyObject_HEAD
	struct watch *watch;		/* NULL: closed */
};

static PyObject *set_watch_error(int err, const struct watch *watch)
{
	PyObject *values = Py_BuildValue("(is)", -err, watch ? watch_message(watch) : "no memory");

	if (values) {
		PyErr_SetObject(PyExc_OSError, values);
		Py_DECREF(values);
	}
	return NULL;
}

static struct watch *opened(PyObject *self)
{
	struct watch *watch = ((struct watch_object *)self)->watch;

	if (!watch)
		PyErr_SetString(PyExc_ValueError, "the watch is closed");
	return watch;
}

/* The numbers of CPUs in a tuple. The caller frees them. */
static uint32_t *parse_cpus(PyObject *tuple, Py_ssize_t *ret)
{
	Py_ssize_t count = PyTuple_Size(tuple);
	uint32_t *cpus;

	if (count < 1 || count > MOST_CPUS) {
		PyErr_SetString(PyExc_ValueError, "no CPUs, or too many");
		return NULL;
	}
	cpus = PyMem_Calloc((size_t)count, sizeof(*cpus));
	if (!cpus)
		return (uint32_t *)PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < count; i++) {
		if (!to_u32(PyTuple_GetItem(tuple, i), &cpus[i]))
			goto error;
		if (cpus[i] >= MOST_CPUS) {
			PyErr_Format(PyExc_ValueError, "no CPU can have the number %u", cpus[i]);
			goto error;
		}
	}
	*ret = count;
	return cpus;
error:
	PyMem_Free(cpus);
	return NULL;
}

static PyObject *watch_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "cpus", "ring_bytes", "per_cpu_offset", "preempt_count", "task_mm",
				 "own_pid", "writes_only", "stack", NULL };
	struct watch_options options = { 0 };
	struct watch_kernel kernel;
	struct watch_object *object;
	struct watch *watch = NULL;
	PyObject *tuple;
	Py_ssize_t count = 0;
	uint32_t *cpus, ring_bytes;
	int writes_only, stack, err;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O&O&O&O&O&pp:Watch", names, &PyTuple_Type,
					 &tuple, to_u32, &ring_bytes, to_u64,
					 &kernel.per_cpu_offset, to_u64, &kernel.preempt_count,
					 to_u32, &kernel.task_mm, to_u32, &kernel.own_tgid,
					 &writes_only, &stack))
		return NULL;
	if (!ring_bytes || ring_bytes & (ring_bytes - 1) || ring_bytes > MOST_RING_BYTES) {
		PyErr_SetString(PyExc_ValueError, "ring_bytes must be a power of two");
		return NULL;
	}
	cpus = parse_cpus(tuple, &count);
	object = cpus ? (struct watch_object *)PyType_GenericAlloc(type, 0) : NULL;
	if (!object) {
		PyMem_Free(cpus);
		return NULL;
	}
	options.ring_bytes = ring_bytes;
	options.writes_only = writes_only;
	options.stack = stack;
	err = watch_create(&kernel, cpus, (size_t)count, &options, &watch);
	PyMem_Free(cpus);
	if (!err) {
		object->watch = watch;
		return (PyObject *)object;
	}
	set_watch_error(err, watch);
	watch_destroy(watch);
	Py_DECREF(object);
	return NULL;
}

static PyObject *watch_arm_method(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "number", "address", "length", "value_address", "mm", NULL };
	struct watch_place place;
	struct watch *watch;
	int err;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O&O&O&O&:arm", names, to_u32,
					 &place.number, to_u64, &place.address, to_u32,
					 &place.length, to_u64, &place.value_address, to_u64,
					 &place.mm))
		return NULL;
	/* After parsing, which can run Python code that closes it. */
	watch = opened(self);
	if (!watch)
		return NULL;
	err = watch_arm(watch, &place);
	if (err)
		return set_watch_error(err, watch);
	Py_RETURN_NONE;
}

static PyObject *watch_disarm_method(PyObject *self, PyObject *args)
{
	struct watch *watch;
	uint32_t number;

	if (!PyArg_ParseTuple(args, "O&:disarm", to_u32, &number))
		return NULL;
	watch = opened(self);
	if (!watch)
		return NULL;
	watch_disarm(watch, number);
	Py_RETURN_NONE;
}

static PyObject *watch_is_exact_method(PyObject *self, PyObject *args)
{
	const struct watch *watch;
	uint32_t number;

	if (!PyArg_ParseTuple(args, "O&:is_exact", to_u32, &number))
		return NULL;
	watch = opened(self);
	return watch ? PyBool_FromLong(watch_is_exact(watch, number)) : NULL;
}

static PyObject *watch_disarm_all_method(PyObject *self, PyObject *unused)
{
	struct watch *watch = opened(self);

	(void)unused;
	if (!watch)
		return NULL;
	watch_disarm_all(watch);
	Py_RETURN_NONE;
}

/* The return addresses; the first word is the instruction itself. */
static PyObject *wrap_stack(const struct watch_record *record)
{
	Py_ssize_t count = record->stack_bytes > 0 ? record->stack_bytes / 8 : 0;
	PyObject *stack;

	if (count > WATCH_FRAMES)
		count = WATCH_FRAMES;
	stack = PyTuple_New(count ? count - 1 : 0);
	for (Py_ssize_t i = 1; stack && i < count; i++) {
		PyObject *pc = PyLong_FromUnsignedLongLong(record->stack[i]);

		if (!pc || PyTuple_SetItem(stack, i - 1, pc))
			Py_CLEAR(stack);
	}
	return stack;
}

static PyObject *wrap_record(const struct watch_record *record)
{
	PyObject *stack = wrap_stack(record);

	if (!stack)
		return NULL;
	return Py_BuildValue("(IKIIIIIy#Ky#KN)", record->number, (unsigned long long)record->ns,
			     record->cpu, record->flags, record->preempt_count,
			     (unsigned int)(record->pid_tgid >> 32), (unsigned int)record->pid_tgid,
			     record->comm, (Py_ssize_t)strnlen(record->comm, sizeof(record->comm)),
			     (unsigned long long)record->ip, record->value,
			     (Py_ssize_t)(record->value_error ? 0 : WATCH_VALUE_BYTES),
			     (unsigned long long)record->dropped, stack);
}

static PyObject *watch_read_method(PyObject *self, PyObject *unused)
{
	struct watch *watch = opened(self);
	PyObject *list = watch ? PyList_New(0) : NULL;
	struct watch_record record = { 0 };
	int got = 0;

	(void)unused;
	for (int i = 0; list && i < READ_RECORDS; i++) {
		PyObject *item;
		int err;

		got = watch_read(watch, &record);
		if (got <= 0)
			break;
		item = wrap_record(&record);
		err = item ? PyList_Append(list, item) : -1;
		Py_XDECREF(item);
		if (err)
			Py_CLEAR(list);
	}
	if (list && got < 0) {
		Py_DECREF(list);
		return set_watch_error(got, watch);
	}
	return list;
}

static PyObject *watch_fileno(PyObject *self, PyObject *unused)
{
	const struct watch *watch = opened(self);

	(void)unused;
	return watch ? PyLong_FromLong(watch_fd(watch)) : NULL;
}

static PyObject *watch_lost_method(PyObject *self, PyObject *unused)
{
	struct watch *watch = opened(self);

	(void)unused;
	return watch ? PyLong_FromUnsignedLongLong(watch_lost(watch)) : NULL;
}

static PyObject *watch_used_method(PyObject *self, PyObject *unused)
{
	const struct watch *watch = opened(self);

	(void)unused;
	return watch ? PyLong_FromUnsignedLong(watch_used(watch)) : NULL;
}

static PyObject *watch_close(PyObject *self, PyObject *unused)
{
	struct watch_object *object = (struct watch_object *)self;

	(void)unused;
	watch_destroy(object->watch);
	object->watch = NULL;
	Py_RETURN_NONE;
}

static void watch_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	watch_destroy(((struct watch_object *)self)->watch);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef watch_methods[] = {
	{ "arm", (PyCFunction)(void (*)(void))watch_arm_method, METH_VARARGS | METH_KEYWORDS, NULL },
	{ "disarm", watch_disarm_method, METH_VARARGS, NULL },
	{ "is_exact", watch_is_exact_method, METH_VARARGS, NULL },
	{ "disarm_all", watch_disarm_all_method, METH_NOARGS, NULL },
	{ "read", watch_read_method, METH_NOARGS, NULL },
	{ "fileno", watch_fileno, METH_NOARGS, NULL },
	{ "lost", watch_lost_method, METH_NOARGS, NULL },
	{ "used", watch_used_method, METH_NOARGS, NULL },
	{ "close", watch_close, METH_NOARGS, NULL },
	{ 0 },
};

static PyType_Slot watch_slots[] = {
	{ Py_tp_new, watch_new },
	{ Py_tp_dealloc, watch_dealloc },
	{ Py_tp_methods, watch_methods },
	{ 0 },
};

PyType_Spec watch_spec = {
	.name = "pageproof_pagewalk.Watch",
	.basicsize = sizeof(struct watch_object),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = watch_slots,
};
