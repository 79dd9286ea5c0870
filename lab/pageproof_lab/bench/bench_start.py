# SPDX-License-Identifier: GPL-2.0-or-later
"""Time the start of a command with DWARF and with BTF, from outside and inside a guest."""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.bench.programs import build_programs
from pageproof_lab.bench.timed import InGuest, Limits, OnHost, Timed
from pageproof_lab.guest import boot
from pageproof_lab.images import build, kernels

RUNS = 5
_LIMITS = Limits(seconds=300, memory_mib=4096)
_WORDS = ("verify", "--kind", "umh_shm", "--format", "json")


def bench_start(series: str) -> None:
    """Print the table: where, types from, seconds until they are ready, and of the whole command.

    One page is proven. Of each figure the median is shown.
    """
    kernel = kernels.fetch(series)
    built = build.build(kernel)
    program = build_programs() / "timed"
    print(f"Linux {kernel.release}; `verify` of one page; seconds, median of {RUNS}")
    print("| where | types from | types ready | whole command | its CPU time | peak MiB |")
    print("|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory(prefix="pageproof-bench-") as scratch,
        boot.boot(kernel, built=built) as here,
    ):
        here.load_module()
        outside = [sys.executable, "-m", "pageproof", "--qemu", str(here.sockets.qmp)]
        files = ["-s", str(kernel.vmlinux), "-s", str(built.module)]
        host = OnHost(program, _LIMITS, Path(scratch))
        guest = InGuest(program, _LIMITS, here)
        for form, named in ("dwarf", files), ("btf", []):
            _row("outside", form, host, [*outside, *named])
        for form in "dwarf", "btf":
            _row("inside", form, guest, ["pageproof"])


def _row(name: str, form: str, where: OnHost | InGuest, words: list[str]) -> None:
    runs, ready = list[Timed](), list[float]()
    for number in range(RUNS + 1):
        timed = where.run([*words, "--debug-info", form, *_WORDS], keep=True)
        report = json.loads(where.output() or "{}")
        if timed.code or "times" not in report:
            raise LabError(f"{' '.join(words)}: exit code {timed.code}\n{timed.said[-2000:]}")
        if number:  # the first fills caches
            runs.append(timed)
            ready.append(report["times"]["debug_info_seconds"])
    figures = (
        *(f"{statistics.median(of):.2f}" for of in (ready, [run.seconds for run in runs])),
        f"{statistics.median(run.cpu_seconds for run in runs):.2f}",
        f"{max(run.peak_mib for run in runs):.0f}",
    )
    print(f"| {name} | {form.upper()} | {' | '.join(figures)} |", flush=True)
