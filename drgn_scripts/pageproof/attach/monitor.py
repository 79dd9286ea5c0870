# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor, asked through the connection that drgn has negotiated.

A QMP socket serves one client at a time, and a second connection would let another client in
between. drgn uses the connection only inside its own calls, so pageproof may use it between them.
"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Final

from pageproof.errors import PageproofError

#: Limit of one answer. ``info mtree -f`` has some kilobytes, and a megabyte with many devices.
_ANSWER_BYTES: Final = 16 << 20
_RECEIVE_BYTES: Final = 1 << 16
#: Deadline of an answer with all events before it. Each read has a limit too (qmp.py), but a peer
#: may send a byte, or an event, now and then.
ANSWER_SECONDS: Final = 60.0


class Unusable(Exception):
    """QEMU refused, or drgn is in the middle of an event."""


class Monitor:
    """Asks QEMU through a connection that another client has negotiated.

    Args:
        connection: another descriptor of drgn's connection. It blocks and has a time limit.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._received = b""
        self._number = 0
        self._check()

    def ask(self, command: str) -> str:
        """Run a command of QEMU's human monitor.

        Raises:
            Unusable: QEMU refused.
            OSError, ValueError: see :meth:`execute`.
        """
        text = self.execute("human-monitor-command", {"command-line": command})
        if not isinstance(text, str):
            raise Unusable("QEMU refused")
        return text

    def execute(
        self,
        command: str,
        arguments: dict[str, object] | None = None,
        descriptor: int | None = None,
    ) -> object:
        """Run a command of QMP and return what it returns.

        Args:
            command: the command.
            arguments: its arguments.
            descriptor: goes to QEMU with the command; the socket is a Unix one.

        Raises:
            Unusable: QEMU refused, or drgn has read the first part of an event.
            OSError: the connection failed, or QEMU did not answer in time.
            ValueError: an answer does not belong to its question, so drgn must not use the
                connection either.
        """
        self._check()
        self._number += 1
        name = f"pageproof {self._number}"
        message: dict[str, object] = {"execute": command, "id": name}
        if arguments:
            message["arguments"] = arguments
        line = json.dumps(message).encode() + b"\r\n"
        sent = 0
        if descriptor is not None:
            sent = socket.send_fds(self.connection, [line], [descriptor])
        self.connection.sendall(line[sent:])
        deadline = time.monotonic() + ANSWER_SECONDS
        while "event" in (answer := self._message(deadline)):
            pass
        if answer.get("id") != name:
            raise ValueError("an answer of QEMU does not belong to its question")
        if "return" not in answer:
            raise Unusable("QEMU refused")
        return answer["return"]

    def finish(self) -> None:
        """Leave no part of an event to drgn."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._received:
            self._message(deadline)

    def drain(self) -> None:
        """Read the events that have come: QEMU keeps in its memory what nobody reads.

        Raises:
            OSError, ValueError: see :meth:`execute`.
        """
        try:
            self._check()
        except Unusable:
            return
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._received or select.select([self.connection], [], [], 0)[0]:
            self._message(deadline)

    def _check(self) -> None:
        """Check that the next byte begins a message.

        drgn reads 4096 bytes at a time and skips events. It may have read the first part of one.
        """
        if self._received:
            return
        try:
            pending = self.connection.recv(_RECEIVE_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if pending and not pending.startswith(b'{"timestamp":'):
            raise Unusable("the middle of an event")

    def _message(self, deadline: float) -> dict[str, object]:
        received, more, length = [], self._received, 0
        while b"\n" not in more:
            received.append(more)
            length += len(more)
            if length > _ANSWER_BYTES:
                raise ValueError("an answer of QEMU is too long")
            _check_time(deadline)
            more = self.connection.recv(_RECEIVE_BYTES)
            if not more:
                raise ConnectionError("QEMU closed the connection")
        _check_time(deadline)
        end, _, self._received = more.partition(b"\n")
        line = b"".join((*received, end))
        try:
            message = json.loads(line)
        except RecursionError:
            message = None
        if not isinstance(message, dict):
            raise ValueError("an answer of QEMU is not an object")
        return message


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"QEMU did not finish its answer within {ANSWER_SECONDS:.0f} s")


def ask_qemu(monitor: Monitor, command: str, where: str) -> object:
    """Run a command of QMP whose failure is the user's.

    Raises:
        PageproofError: QEMU did not answer it.
    """
    try:
        return monitor.execute(command)
    except (OSError, ValueError, Unusable) as error:
        raise PageproofError(
            f"QEMU does not answer {command}: {error}", where, "does the guest still run?"
        ) from None
