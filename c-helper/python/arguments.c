// SPDX-License-Identifier: GPL-2.0-or-later
/* Converters of arguments. */
#include "binding.h"

int to_u64(PyObject *object, void *ret)
{
	PyObject *number = PyNumber_Index(object);
	unsigned long long value;

	if (!number)
		return 0;
	value = PyLong_AsUnsignedLongLong(number);
	if (PyErr_Occurred()) {
		if (PyErr_ExceptionMatches(PyExc_OverflowError))
			PyErr_Format(PyExc_ValueError, "%R is not a 64-bit number", number);
		Py_DECREF(number);
		return 0;
	}
	Py_DECREF(number);
	*(uint64_t *)ret = value;
	return 1;
}

static int to_number(PyObject *object, unsigned int bits, uint64_t *ret)
{
	uint64_t value;

	if (!to_u64(object, &value))
		return 0;
	if (value >> bits) {
		PyErr_Format(PyExc_ValueError, "%R is not a %u-bit number", object, bits);
		return 0;
	}
	*ret = value;
	return 1;
}

int to_u32(PyObject *object, void *ret)
{
	uint64_t value;

	if (!to_number(object, 32, &value))
		return 0;
	*(uint32_t *)ret = (uint32_t)value;
	return 1;
}

int to_u8(PyObject *object, void *ret)
{
	uint64_t value;

	if (!to_number(object, 8, &value))
		return 0;
	*(uint8_t *)ret = (uint8_t)value;
	return 1;
}

int to_roots(PyObject *object, void *ret)
{
	uint64_t *roots = ret;

	if (PyTuple_Check(object))
		return PyArg_ParseTuple(object, "O&O&;two roots, of the lower and the upper half",
					to_u64, &roots[0], to_u64, &roots[1]);
	if (!to_u64(object, &roots[0]))
		return 0;
	roots[1] = roots[0];
	return 1;
}
