# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads with a deadline, made by a child process that can be abandoned if the kernel hangs."""

from __future__ import annotations

import os
import select
import signal
import struct
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pageproof.model import MemoryGap, Outcome

#: Deadline of a read. Reads take microseconds, but an emulated machine may stop for seconds.
SECONDS: Final = 20.0
#: Seconds to wait for a killed child.
_REAP_SECONDS: Final = 1.0

_REQUEST: Final = struct.Struct("=QI?")
_ANSWER: Final = struct.Struct("=?I")
#: read(address, length, physical).
Read = Callable[[int, int, bool], bytes]


class PatientReader:
    """Reads memory through a child process, and gives up after a deadline.

    A read() of ``/proc/kcore`` that does not return blocks drgn and all of Python, including other
    threads and signal handlers. A blocked child blocks nothing else.
    """

    def __init__(self, read: Read, seconds: float = SECONDS) -> None:
        self._read, self._seconds = read, seconds
        self._child: _Child | None = None

    def read(self, address: int, length: int, *, physical: bool) -> bytes:
        """Read memory.

        Raises:
            MemoryGap: the read failed, or it did not return in time.
        """
        if self._child is None:
            self._child = _Child(self._read)
        try:
            good, data = self._child.ask(_REQUEST.pack(address, length, physical), self._seconds)
        except (OSError, TimeoutError, EOFError):
            self._child.end()
            self._child = None
            raise MemoryGap(
                Outcome.UNREADABLE, f"{address:#x}: no answer within {self._seconds:g} s"
            ) from None
        if good:
            return data
        outcome, _, message = data.decode("utf-8", "replace").partition(":")
        raise MemoryGap(Outcome(outcome), message)


class _Child:
    """The process that reads, connected by two pipes."""

    def __init__(self, read: Read) -> None:
        requests, answers = os.pipe(), os.pipe()
        with warnings.catch_warnings():
            # Python warns about other threads. Those of drgn (OpenMP) are idle and not needed here.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _serve(read, requests, answers)
        os.close(requests[0])
        os.close(answers[1])
        self._to, self._from = requests[1], answers[0]
        self.end = weakref.finalize(self, _end, pid, self._to, self._from)

    def ask(self, request: bytes, seconds: float) -> tuple[bool, bytes]:
        """Send one request and return its answer.

        Raises:
            TimeoutError: there is no answer in time.
            OSError, EOFError: the child has ended.
        """
        deadline = time.monotonic() + seconds
        os.write(self._to, request)
        good, length = _ANSWER.unpack(self._take(_ANSWER.size, deadline))
        return good, self._take(length, deadline)

    def _take(self, length: int, deadline: float) -> bytes:
        data = b""
        while len(data) < length:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._from], [], [], left)[0]:
                raise TimeoutError
            some = os.read(self._from, length - len(data))
            if not some:
                raise EOFError
            data += some
        return data


def _end(pid: int, *files: int) -> None:
    """Kill the child. It is not waited for longer if the kernel does not let it end."""
    for file in files:
        os.close(file)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _REAP_SECONDS
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)


def _serve(read: Read, requests: tuple[int, int], answers: tuple[int, int]) -> None:
    """Run the child: answer until the parent closes the pipe, without the parent's clean-up."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(requests[1])
        os.close(answers[0])
        while len(request := os.read(requests[0], _REQUEST.size)) == _REQUEST.size:
            try:
                good, data = True, read(*_REQUEST.unpack(request))
            except MemoryGap as gap:
                good, data = False, f"{gap.outcome.value}:{gap}".encode()
            answer = _ANSWER.pack(good, len(data)) + data
            while answer:
                answer = answer[os.write(answers[1], answer) :]
    finally:
        os._exit(0)
