# SPDX-License-Identifier: GPL-2.0-or-later
"""Time `vm -p` and `foreach vm` of crash on the same dump, to compare with pageproof."""

import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.bench.measure import measured
from pageproof_lab.bench.timed import OnHost, Timed
from pageproof_lab.images.roots import crash_root


@dataclass(frozen=True)
class CrashFigure:
    """Figures of `vm -p`: the median of several processes, without the start of crash itself."""

    version: str
    start_seconds: float
    seconds: float
    pages: int
    peak_mib: float


_CLOCK = "!date +clock=%s.%N"


def _command() -> list[str]:
    """Use the tree's own loader and libraries, which needs neither chroot nor root."""
    root = crash_root()
    return [
        str(root / "usr/lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        str(root / "usr/lib/x86_64-linux-gnu"),
        str(root / "usr/bin/crash"),
    ]


def _clocks(out: str) -> list[float]:
    return [float(found) for found in re.findall(r"^clock=([0-9.]+)$", out, re.MULTILINE)]


def foreach_vm(host: OnHost, dump: Path, vmlinux: Path) -> tuple[Timed, float | None]:
    """Run crash and list the VMAs of all processes.

    Returns:
        Figures of the whole process, and the seconds of the command alone; None if crash was killed
        or failed before the end of the command.
    """
    script = "\n".join([_CLOCK, "foreach vm > /dev/null", _CLOCK, "quit", ""])
    words = [*_command(), "-s", "--no_scroll", str(vmlinux), str(dump)]
    ran = host.run(words, script, keep=True)
    clocks = _clocks(host.output())
    return ran, clocks[1] - clocks[0] if len(clocks) == 2 else None


def measure_crash(dump: Path, vmlinux: Path, pids: list[int]) -> CrashFigure:
    """Run crash once and read the clock between its commands.

    Raises:
        LabError: it cannot read the dump, or its output is not what was expected.
    """
    words = _command()
    named = re.search(r"^crash [0-9]\S*", measured([*words, "--version"]).out, re.MULTILINE)
    version = named[0] if named else "crash"
    timed = [line for pid in pids for line in (_CLOCK, f"vm -p {pid} > /dev/null", _CLOCK)]
    counted = [f"vm -p {pid} | grep -c '^ *[0-9a-f]*  *[0-9a-f]*$'" for pid in pids]
    script = "\n".join([*timed, *counted, "quit", ""])
    ran = measured([*words, "-s", "--no_scroll", str(vmlinux), str(dump)], script)
    clocks = _clocks(ran.out)
    pages = [int(found) for found in re.findall(r"^([0-9]+)$", ran.out, re.MULTILINE)]
    if len(clocks) != 2 * len(pids) or len(pages) != len(pids):
        raise LabError(f"{version}: unexpected output for {dump}:\n{ran.out[-2000:]}")
    each = [after - before for before, after in zip(clocks[::2], clocks[1::2], strict=True)]
    rest = 2 * sum(each)  # each process is listed once for its time and once for its pages
    return CrashFigure(
        version, ran.seconds - rest, statistics.median(each), min(pages), ran.peak_mib
    )
