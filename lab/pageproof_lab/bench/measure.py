# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a process and taking its measure: wall time, peak of memory, what it printed."""

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
    """Of a whole process; the peak is the largest of it and of its children, each by itself."""

    seconds: float
    peak_mib: float
    out: str


def measured(
    words: Sequence[str],
    stdin: str = "",
    deadline_seconds: float = 900,
    codes: Collection[int] = (0,),
) -> Measured:
    """Run a command of this clone.

    :param codes: exit codes that are no failure.
    :raises LabError: it failed, or did not end in time.
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
        said = "\n".join("".join(texts).splitlines()[-20:])
        raise LabError(f"{' '.join(words)}: {why}\n{said}")
    return Measured(seconds, usage.ru_maxrss / 1024, texts[0])


def _wait(process: "subprocess.Popen[bytes]", deadline: float) -> "resource.struct_rusage | None":
    """Its resources; None if it had to be killed. Popen.wait() would not give them."""
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
