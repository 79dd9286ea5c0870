// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's errors as Python's. */
#include "binding.h"

PyObject *set_error(int status)
{
	switch (status) {
	case PW_NO_MEMORY:
		return PyErr_NoMemory();
	case PW_BAD_ARGUMENT:
		PyErr_SetString(PyExc_ValueError, "no range, or no such address space");
		return NULL;
	default:
		/* A negative number: the callback failed, and its exception is set. */
		if (!PyErr_Occurred())
			PyErr_Format(PyExc_SystemError, "the engine returned %d", status);
		return NULL;
	}
}
