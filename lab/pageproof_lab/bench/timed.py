# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a command under lab/bench_programs/timed.c, on the host or in a guest, with limits."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.guest.guest import Guest
from pageproof_lab.paths import python_path, source_dir

_LATE_SECONDS = 120  # for an emulated guest on a busy host, beyond the command's own deadline
_GUEST_PROGRAM, _GUEST_OUTPUT = "/run/timed", "/run/timed.out"


@dataclass(frozen=True)
class Limits:
    """A command is killed when it runs longer, or has more anonymous memory."""

    seconds: float
    memory_mib: int


@dataclass(frozen=True)
class Timed:
    """Figures of one process, from wait4(); the peak is the highest of it and its children."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    code: int
    ended: str  # "itself", or the limit that it exceeded: "deadline" or "memory"
    said: str = ""  # stderr


def parse(line: str, said: str) -> Timed:
    """Parse the line that the program prints.

    Raises:
        LabError: it is not as expected, because the program itself failed.
    """
    try:
        seconds, cpu, peak_kib, code, ended = line.split()
        return Timed(float(seconds), float(cpu), int(peak_kib) / 1024, int(code), ended, said)
    except ValueError as error:
        raise LabError(f"timed: unexpected output {line!r}\n{said}".rstrip()) from error


def _words(program: str, limits: Limits, output: str, words: Sequence[str]) -> list[str]:
    return [program, str(limits.seconds), str(limits.memory_mib), output, *words]


class OnHost:
    """Runs commands of this clone on the host."""

    def __init__(self, program: Path, limits: Limits, scratch: Path) -> None:
        self._program, self._limits = program, limits
        self._output = scratch / "timed.out"

    def run(self, words: Sequence[str], stdin: str = "", *, keep: bool = False) -> Timed:
        """Run a command and measure it.

        Args:
            words: program and arguments.
            stdin: its whole standard input.
            keep: keep its stdout for `output()`; otherwise it goes to /dev/null.
        """
        output = str(self._output) if keep else os.devnull
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            with subprocess.Popen(
                _words(str(self._program), self._limits, output, words),
                env={**os.environ, "PYTHONPATH": python_path(source_dir())},
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as process:
                try:
                    out, said = process.communicate()
                except BaseException:
                    process.kill()  # its command is killed with it
                    raise
        return parse(out, said)

    def output(self) -> str:
        """Return what the last command printed."""
        return self._output.read_text(errors="replace")


class InGuest:
    """Runs commands inside a guest. Its pageproof is this clone's."""

    def __init__(self, program: Path, limits: Limits, here: Guest) -> None:
        self._limits, self._here = limits, here
        here.agent.write_file(_GUEST_PROGRAM, program.read_bytes())
        here.check("chmod", "755", _GUEST_PROGRAM)

    def run(self, words: Sequence[str], stdin: str = "", *, keep: bool = False) -> Timed:
        """Run a command and measure it, as :meth:`OnHost.run` does."""
        output = _GUEST_OUTPUT if keep else os.devnull
        ran = self._here.run(
            *_words(_GUEST_PROGRAM, self._limits, output, words),
            stdin=stdin.encode(),
            timeout_seconds=self._limits.seconds + _LATE_SECONDS,
        )
        return parse(ran.out, ran.err)

    def output(self) -> str:
        """Return what the last command printed."""
        return self._here.agent.read_file(_GUEST_OUTPUT).decode(errors="replace")
