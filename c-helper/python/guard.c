// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The end of a process that reads a mapped file which has become shorter: a message and an exit code
 * in place of SIGBUS. The engine and libkdumpfile map dumps, and a file can shrink at any time.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "binding.h"

#define MOST_BYTES 8192

/* For the handler, which may be called in any thread and at any time. */
static char message[MOST_BYTES];
static size_t message_bytes;
static int exit_code;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code != BUS_ADRERR) {
		/* Not a mapping beyond a file's end: end as without this handler. */
		signal(number, SIG_DFL);
		raise(number);
		return;
	}
	for (size_t done = 0; done < message_bytes;) {
		ssize_t some = write(STDERR_FILENO, message + done, message_bytes - done);

		if (some <= 0)
			break;
		done += (size_t)some;
	}
	_exit(exit_code);
}

PyObject *guard_mappings(PyObject *module, PyObject *args)
{
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
	Py_ssize_t length;
	const char *text;
	int code;

	(void)module;
	if (!PyArg_ParseTuple(args, "y#i:guard_mappings", &text, &length, &code))
		return NULL;
	if (length > MOST_BYTES) {
		PyErr_SetString(PyExc_ValueError, "the message is too long");
		return NULL;
	}
	message_bytes = 0;
	memcpy(message, text, (size_t)length);
	message_bytes = (size_t)length;
	exit_code = code;
	if (sigaction(SIGBUS, &action, NULL))
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}
