# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C is not lost in a callback whose exceptions drgn drops."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import drgn
import pytest

from pageproof.attach.interrupts import interrupts_kept
from pageproof.attach.messages import drgn_messages


def swallowed() -> None:
    """Interrupts this process in drgn's log handler, where drgn drops exceptions."""

    class Interrupt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger.removeHandler(self)
            os.kill(os.getpid(), signal.SIGINT)

    logger = logging.getLogger("drgn")
    logger.addHandler(Interrupt())
    logger.setLevel(logging.DEBUG)
    load()


def load() -> None:
    """Make drgn log through Python."""
    prog = drgn.Program()
    prog.set_pid(os.getpid())
    with suppress(drgn.MissingDebugInfoError):
        prog.load_default_debug_info()


@pytest.fixture(autouse=True)
def _own_handler() -> Iterator[None]:
    """Set Python's handler. A shell's background job ignores SIGINT and has none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_drgn_drops_it() -> None:
    """This is why the module exists. If it fails, drgn has started to pass exceptions on."""
    swallowed()


def test_it_is_raised_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        swallowed()
    assert "Exception ignored" not in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_while_messages_are_caught() -> None:
    with pytest.raises(KeyboardInterrupt), drgn_messages():
        swallowed()


def test_once_that_got_through_is_raised_once() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, interrupts_kept():
        os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.__context__ is None or caught.value.__context__ is caught.value


def test_a_programs_own_handler_counts() -> None:
    class StopError(Exception):
        pass

    def stop(number: int, frame: object) -> None:
        raise StopError

    before = signal.signal(signal.SIGINT, stop)
    try:
        with pytest.raises(StopError), interrupts_kept():
            swallowed()
    finally:
        signal.signal(signal.SIGINT, before)


def test_not_in_a_thread() -> None:
    ran = []

    def work() -> None:
        with interrupts_kept():
            ran.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [signal.default_int_handler]


def test_other_exceptions_that_can_not_be_raised_are_shown() -> None:
    class Fails(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise ValueError("shown")

    logger, handler = logging.getLogger("drgn"), Fails()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    hook, shown = sys.unraisablehook, []
    sys.unraisablehook = lambda what: shown.append(what.exc_value)
    try:
        with interrupts_kept():
            load()
    finally:
        sys.unraisablehook = hook
        logger.removeHandler(handler)
    assert any(isinstance(one, ValueError) for one in shown)
