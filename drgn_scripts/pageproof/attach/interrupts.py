# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C while drgn works.

drgn logs through Python's logging, and drops what its log callback raises
(libdrgn/python/program.c: PyErr_WriteUnraisable). Python runs a signal's handler at the next
bytecode, and while drgn loads debug info that is in this callback. The exception of a Ctrl-C is
lost then and the command goes on.
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
    """Run; raise at the end what a handler of SIGINT raised meanwhile, unless that got through.

    The handler is the one that is installed, Python's or the program's own. Does nothing outside
    of the main thread, where Python runs no handlers.
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
