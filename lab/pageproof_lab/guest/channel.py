# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON-line protocols on Unix sockets: QEMU's monitor (QMP) and its guest agent.

QEMU docs/interop/qmp-spec and docs/interop/qemu-ga-ref.
"""

import base64
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pageproof_lab import LabError

Reply = Any  # JSON
#: Time to wait for an emulated guest on a busy host. When its CPUs interrupt each other thousands
#: of times, as in compaction, each interrupt waits for the host's scheduler.
BUSY_SECONDS = 120


class Refused(LabError):
    """The other side answered with an error."""


class Channel:
    """One connection."""

    def __init__(self, path: Path, timeout_seconds: float = 10) -> None:
        self.path = path
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise LabError(
                f"{path}: cannot connect: {error.strerror}; see: pageproof lab list"
            ) from error

    def close(self) -> None:
        self._socket.close()

    def receive(self, timeout_seconds: float) -> Reply:
        """Return the next message.

        Raises:
            TimeoutError: none arrived in time.
            LabError: the other side closed the connection.
        """
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                more = self._socket.recv(1 << 20)
            except ConnectionError:
                more = b""
            if not more:
                raise LabError(f"{self.path}: QEMU closed the connection")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line.lstrip(b"\xff"))

    def send(self, command: str, arguments: dict[str, Any]) -> None:
        """Send a command without waiting for its reply.

        Raises:
            LabError: the connection failed.
        """
        message = (
            {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        )
        try:
            self._socket.settimeout(60)
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise LabError(f"{self.path}: {command}: {error}") from error

    def call(self, command: str, timeout_seconds: float = 30, **arguments: Any) -> Reply:
        """Run a command and return its result.

        Args:
            command: its name.
            timeout_seconds: how long to wait for the reply.
            arguments: its arguments; underscores in their names become dashes.

        Raises:
            Refused: the other side answered with an error.
            LabError: the other side closed the connection or did not answer in time.
        """
        self.send(command, {name.replace("_", "-"): value for name, value in arguments.items()})
        deadline = time.monotonic() + timeout_seconds
        try:
            while True:
                answer = self.receive(deadline - time.monotonic())
                if "error" in answer:
                    raise Refused(f"{command}: {answer['error'].get('desc', answer['error'])}")
                if "return" in answer:
                    return answer["return"]
        except TimeoutError as error:
            raise LabError(
                f"{self.path}: {command}: no answer within {timeout_seconds:.0f} s"
            ) from error


class Monitor(Channel):
    """A connection to QEMU's monitor (QMP) that is ready for commands."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self.receive(10)  # the greeting
        except TimeoutError as error:
            self.close()
            raise LabError(
                f"{path}: no greeting from QEMU; close the other client of this socket"
            ) from error
        self.call("qmp_capabilities")


@dataclass(frozen=True)
class Ran:
    """Result of a command in the guest. `code` is 128 + N if signal N ended it."""

    code: int
    out: str
    err: str


class Agent(Channel):
    """A connection to qemu-ga in the guest, which runs commands and copies files."""

    def wait_alive(self, deadline: float) -> None:
        """Wait until the agent answers.

        Args:
            deadline: as time.monotonic() counts.

        Raises:
            TimeoutError: it did not.
        """
        number = 0
        while time.monotonic() < deadline:
            number += 1
            self.send("guest-sync", {"id": number})
            answer_by = min(deadline, time.monotonic() + 0.5)
            try:
                while self.receive(answer_by - time.monotonic()).get("return") != number:
                    pass
                return
            except TimeoutError:
                continue
        raise TimeoutError

    def run(
        self,
        argv: list[str],
        *,
        stdin: bytes = b"",
        env: list[str] | None = None,
        timeout_seconds: float = 120,
    ) -> Ran:
        """Run a command in the guest and wait for its end.

        Args:
            argv: the program, found in the agent's PATH, and its arguments.
            stdin: its whole standard input.
            env: its environment, as NAME=VALUE.
            timeout_seconds: it is killed after this time.

        Returns:
            Its exit code and output. As in a shell, the code is 127 if it could not be started.

        Raises:
            LabError: it did not end in time, or printed more than the agent can return.
        """
        arguments: dict[str, Any] = {
            "path": argv[0],
            "arg": argv[1:],
            "capture_output": True,
            "env": env or [],
        }
        if stdin:
            arguments["input_data"] = base64.b64encode(stdin).decode()
        try:
            pid = self.call("guest-exec", BUSY_SECONDS, **arguments)["pid"]
        except Refused as error:
            return Ran(127, "", f"{error}\n")
        deadline = time.monotonic() + timeout_seconds
        pause = 0.005
        while not (status := self.call("guest-exec-status", BUSY_SECONDS, pid=pid))["exited"]:
            if time.monotonic() > deadline:
                self.call("guest-exec", path="kill", arg=["-KILL", str(pid)])
                raise LabError(
                    f"in the guest: {' '.join(argv)}: no end after {timeout_seconds:.0f} s, killed"
                )
            time.sleep(pause)
            pause = min(0.2, pause * 1.5)
        out, err = (
            base64.b64decode(status.get(k, "")).decode(errors="replace")
            for k in ("out-data", "err-data")
        )
        if status.get("out-truncated") or status.get("err-truncated"):
            raise LabError(
                f"in the guest: {' '.join(argv)}: too much output for the agent; write it to a file"
            )
        return Ran(
            128 + status["signal"] if "signal" in status else status.get("exitcode", 0), out, err
        )

    def read_file(self, path: str) -> bytes:
        """Return the contents of a file in the guest."""
        handle = self.call("guest-file-open", path=path, mode="r")
        data = b""
        try:
            while True:
                piece = self.call("guest-file-read", 60, handle=handle, count=1 << 20)
                data += base64.b64decode(piece["buf-b64"])
                if piece["eof"]:
                    return data
        finally:
            self.call("guest-file-close", handle=handle)

    def write_file(self, path: str, data: bytes) -> None:
        """Write a file in the guest."""
        handle = self.call("guest-file-open", path=path, mode="w")
        try:
            for start in range(0, len(data), 1 << 20):
                piece = base64.b64encode(data[start : start + (1 << 20)]).decode()
                self.call("guest-file-write", 60, handle=handle, buf_b64=piece)
        finally:
            self.call("guest-file-close", handle=handle)
