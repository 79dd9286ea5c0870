# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a process and measure its wall time and peak memory."""

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pageproof_lab import LabError
from pageproof_lab.paths import python_path, source_dir


@dataclass(frozen=True)
class Measured:
    """Figures of a whole process. The peak is the highest of the process and its children."""

    seconds: float
    peak_mib: float
    out: str


def measured(
    words: Sequence[str],
    stdin: str = "",
    deadline_seconds: float = 900,
    codes: Collection[int] = (0,),
) -> Measured:
    """Run a command of this clone and measure it.

    Args:
        words: program and arguments.
        stdin: its whole standard input.
        deadline_seconds: it is killed after this time.
        codes: exit codes that do not count as failures.

    Raises:
        LabError: it failed, or did not end in time.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            start = time.monotonic()
            process = subprocess.Popen(
                words,
                env={**os.environ, "PYTHONPATH": python_path(source_dir())},
                stdin=given,
                stdout=out,
                stderr=errors,
            )
        usage = _wait(process, start + deadline_seconds)
        seconds = time.monotonic() - start
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if usage is None or process.returncode not in codes:
        why = f"exit code {process.returncode}" if usage else f"no end after {deadline_seconds} s"
        tail = "\n".join("".join(texts).splitlines()[-20:])
        raise LabError(f"{' '.join(words)}: {why}\n{tail}")
    return Measured(seconds, usage.ru_maxrss / 1024, texts[0])


def _wait(process: "subprocess.Popen[bytes]", deadline: float) -> "resource.struct_rusage | None":
    """Return its resource usage, which Popen.wait() does not; None if it had to be killed."""
    try:
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return usage
            time.sleep(0.002)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.kill()
    process.wait()
    return None
