# SPDX-License-Identifier: GPL-2.0-or-later
"""Run `pageproof watch` beside a guest or in it, while a test makes accesses."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any

from machine import COMMAND_SECONDS, START_SECONDS, Json, Machine, environment

#: Where the test programs are in the guest, and in the build.
IN_GUEST = "/opt/pageproof/vm"


class Watch(ABC):
    """A watch that runs, with JSON output. It has armed its places when it is made."""

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @abstractmethod
    def records(self) -> list[Json]:
        """Return what it has written so far."""

    @abstractmethod
    def signal(self, name: str) -> None:
        """Send it a signal, such as TERM."""

    @abstractmethod
    def running(self) -> bool:
        """Return whether it has not ended yet."""

    @abstractmethod
    def code(self) -> int:
        """Return its exit code, after its end."""

    @abstractmethod
    def said(self) -> str:
        """Return what it has written to standard error."""

    def kill(self) -> None:
        if self.running():
            self.signal("KILL")

    def await_end(self) -> None:
        deadline = time.monotonic() + COMMAND_SECONDS
        while self.running():
            assert time.monotonic() < deadline, "the watch does not end"
            time.sleep(0.1)

    def await_start(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.records():
            assert self.running() and time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def end(self, name: str = "TERM") -> list[Json]:
        """End it by a signal; return all records."""
        self.signal(name)
        self.await_end()
        return self.records()


def _complete(text: str) -> list[Json]:
    """Return the records of text whose last line may be cut off."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


class Outside(Watch):
    """A watch of a guest through QEMU's gdb stub."""

    def __init__(self, machine: Machine, *words: str) -> None:
        self._out: IO[Any] = tempfile.TemporaryFile("w+")  # noqa: SIM115  # until it is killed
        self._err: IO[Any] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        gdb = () if "--sample" in words else ("--gdb", str(machine.guest.sockets.gdb))
        command = ["watch", *gdb, *words, "--format", "json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pageproof", *machine.target, *command],
            env=environment(),
            stdout=self._out,
            stderr=self._err,
        )
        try:
            self.await_start()
        except BaseException:
            self.kill()
            raise

    def records(self) -> list[Json]:
        return _complete(self._read(self._out))

    @staticmethod
    def _read(file: IO[Any]) -> str:
        # Not by seek(): the process shares the position.
        return os.pread(file.fileno(), 1 << 30, 0).decode()

    def signal(self, name: str) -> None:
        subprocess.run(["/bin/kill", "-s", name, str(self.process.pid)], check=True)

    def running(self) -> bool:
        return self.process.poll() is None

    def code(self) -> int:
        return self.process.wait(COMMAND_SECONDS)

    def said(self) -> str:
        return self._read(self._err)


class Inside(Watch):
    """A watch in a guest."""

    _FILE = "/run/watch"

    def __init__(self, machine: Machine, *words: str) -> None:
        self._guest = machine.guest
        modules = [f"{IN_GUEST}/{path.name}" for path in machine.test_modules]
        symbols = [word for path in modules for word in ("-s", path)]
        command = shlex.join(["pageproof", *symbols, "watch", *words, "--format", "json"])
        script = (
            f"rm -f {self._FILE}.*; ({command} > {self._FILE}.out 2> {self._FILE}.err & "
            f"echo $! > {self._FILE}.pid; wait $!; echo $? > {self._FILE}.code) "
            "> /dev/null 2>&1 < /dev/null &"
        )
        self._guest.check("sh", "-c", script)
        try:
            self.await_start()
        except BaseException:
            self.kill()
            raise

    def _text(self, end: str) -> str:
        ran = self._guest.run("cat", f"{self._FILE}.{end}")
        return "" if ran.code else ran.out

    def records(self) -> list[Json]:
        return _complete(self._text("out"))

    def signal(self, name: str) -> None:
        self._guest.run("kill", "-s", name, self._text("pid").strip())

    def running(self) -> bool:
        return not self._text("code")

    def code(self) -> int:
        return int(self._text("code"))

    def said(self) -> str:
        return self._text("err")


def program(machine: Machine, name: str, *, inside: bool = False) -> str:
    """Return the path of a program of tests/vm, as `--program` needs it."""
    assert machine.built.programs is not None
    return f"{IN_GUEST}/{name}" if inside else str(Path(machine.built.programs, name))
