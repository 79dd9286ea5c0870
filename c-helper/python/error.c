// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's errors as Python's. */
#include "binding.h"

PyObject *set_error(int status)
{
	switch (status) {
	case PW_NO_MEMORY:
	case -PW_NO_MEMORY:
		return PyErr_NoMemory();
	case PW_BAD_ARGUMENT:
		PyErr_SetString(PyExc_ValueError, "not a range of addresses, or no such address space");
		return NULL;
	default:
		/* The callback failed and has set its exception. */
		if (!PyErr_Occurred())
			PyErr_Format(PyExc_SystemError, "the engine returned %d", status);
		return NULL;
	}
}
