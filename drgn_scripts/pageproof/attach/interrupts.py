# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C while drgn runs.

drgn logs through Python's logging and drops any exception of its log callback
(libdrgn/python/program.c: PyErr_WriteUnraisable). Python runs a signal handler at the next
bytecode. While drgn loads debug info, that is in this callback: the exception of a Ctrl-C would be
lost and the command would continue.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise at the end of the block any lost exception of the SIGINT handler.

    The handler is the installed one, Python's or the program's own. Outside the main thread, where
    Python runs no signal handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # ignored, left to the kernel, or set by C code
        yield
        return
    lost: list[BaseException] = []

    def handle(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            lost.append(error)
            raise

    report = sys.unraisablehook

    def unraisable(what: Any) -> None:
        if what.exc_value not in lost:
            report(what)

    signal.signal(signal.SIGINT, handle)
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        sys.unraisablehook = report
        if lost:
            raise lost[0]
