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
#: An emulated guest on a busy host may stand still for so long: CPUs that interrupt each other
#: thousands of times, as in compaction, wait for the host's scheduler each time.
BUSY_SECONDS = 120


class Refused(LabError):
    """The other side answered with an error."""


class Channel:
    """One connection; a call waits for its answer at most `timeout_seconds`."""

    def __init__(self, path: Path, timeout_seconds: float = 10) -> None:
        self.path = path
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise LabError(f"{path}: no lab answers there ({error.strerror})") from error

    def close(self) -> None:
        self._socket.close()

    def receive(self, timeout_seconds: float) -> Reply:
        """The next line.

        :raises TimeoutError: none came in time.
        :raises LabError: the other side closed.
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
        message = (
            {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        )
        try:
            self._socket.settimeout(60)
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise LabError(f"{self.path}: {command}: {error}") from error

    def call(self, command: str, timeout_seconds: float = 30, **arguments: Any) -> Reply:
        """Run `command`; underscores in argument names become dashes.

        :raises LabError: the other side refused, closed or was silent.
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
    """QEMU's monitor, QMP; ready for commands."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self.receive(10)  # the greeting
        except TimeoutError as error:
            self.close()
            raise LabError(f"{path}: no greeting; another client holds this socket") from error
        self.call("qmp_capabilities")


@dataclass(frozen=True)
class Ran:
    """What a command in the guest came to; `code` is 128 + N for one ended by signal N."""

    code: int
    out: str
    err: str


class Agent(Channel):
    """qemu-ga in the guest: says that the guest lives, runs commands, moves files."""

    def wait_alive(self, deadline: float) -> None:
        """Wait until the agent answers.

        :param deadline: by time.monotonic().
        :raises TimeoutError: it did not.
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
        """Run a command in the guest, found by the agent's PATH, and wait for its end.

        :returns: with code 127, as a shell has it, if it could not be started.
        :raises LabError: it did not end in time (it is then killed).
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
                f"in the guest: {' '.join(argv)}: printed more than the agent can carry; use a file"
            )
        return Ran(
            128 + status["signal"] if "signal" in status else status.get("exitcode", 0), out, err
        )

    def read_file(self, path: str) -> bytes:
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
        handle = self.call("guest-file-open", path=path, mode="w")
        try:
            for start in range(0, len(data), 1 << 20):
                piece = base64.b64encode(data[start : start + (1 << 20)]).decode()
                self.call("guest-file-write", 60, handle=handle, buf_b64=piece)
        finally:
            self.call("guest-file-close", handle=handle)
