# SPDX-License-Identifier: GPL-2.0-or-later
"""What drgn logs while it attaches."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pageproof.attach.interrupts import interrupts_kept


@contextmanager
def drgn_messages() -> Iterator[list[str]]:
    """Collect drgn's log messages instead of printing them.

    They would mix with the progress line. Only they give the reason why drgn reads slowly.
    """
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("drgn")
    report = sys.unraisablehook

    def unraisable(what: Any) -> None:
        # drgn cannot log a message with a module's name that is not UTF-8. Python would print a
        # traceback (libdrgn/python/program.c: PyErr_WriteUnraisable).
        of_log = getattr(what.object, "__self__", None) is logger
        if of_log and isinstance(what.exc_value, UnicodeDecodeError):
            messages.append(f"a message of drgn is not UTF-8: {what.exc_value.object!r}")
        else:
            report(what)

    handler, level, propagate = Keep(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    sys.unraisablehook = unraisable
    try:
        with interrupts_kept():
            yield messages
    finally:
        sys.unraisablehook = report
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
