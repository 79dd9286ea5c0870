# SPDX-License-Identifier: GPL-2.0-or-later
"""Time `verify`, and drgn scripts that only translate the same addresses."""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pageproof_lab.bench.measure import measured
from pageproof_lab.guest import boot
from pageproof_lab.images import build, kernels
from pageproof_lab.paths import source_dir
from pageproof_lab.proc import say

RUNS = 5
PAGES = (1, 256, 4096)
PROCESSES = 200


@dataclass(frozen=True)
class Figure:
    """Wall time (median of `RUNS`) and peak memory (maximum) of a whole process."""

    seconds: float
    peak_mib: float


def measure(words: Sequence[str]) -> Figure:
    """Run a command `RUNS` times after one run that does not count."""
    runs = [measured(words) for _ in range(RUNS + 1)][1:]
    return Figure(statistics.median(run.seconds for run in runs), max(run.peak_mib for run in runs))


def bench_verify(series: str) -> None:
    """Print the table: target, pages, `verify`, the drgn script, their ratio.

    In the last row, `verify` checks all shared regions of a guest with many processes.
    """
    kernel = kernels.fetch(series)
    built = build.build(kernel)
    symbols = ["-s", str(kernel.vmlinux), "-s", str(built.module)]
    print(f"Linux {kernel.release}; wall seconds of whole processes, median of {RUNS}; peak MiB")
    print(f"{'target':10}{'pages':>6}{'verify':>9}{'drgn':>9}{'ratio':>7}{'MiB':>7}{'MiB':>6}")

    def row(
        name: str,
        target: Sequence[str],
        pages: int,
        words: Sequence[str] = ("--kind", "umh_shm"),
        script: str = "follow_phys.py",
    ) -> None:
        verify = [sys.executable, "-m", "pageproof", *target, *symbols, "verify", *words]
        ours = [*verify, "--format", "json"]
        peer = source_dir() / "lab/bench_programs" / script
        drgn = [sys.executable, "-m", "drgn", "-q", *target, *symbols, str(peer)]
        a, b = measure(ours), measure(drgn)
        print(
            f"{name:10}{pages:6}{a.seconds:9.2f}{b.seconds:9.2f}{a.seconds / b.seconds:7.2f}"
            f"{a.peak_mib:7.0f}{b.peak_mib:6.0f}",
            flush=True,
        )

    with boot.boot(kernel, built=built) as here:
        target = ["--qemu", str(here.sockets.qmp)]
        for pages in PAGES:
            here.load_module("backing=vmalloc", "map=insert", f"length={pages * 4096}")
            row("qemu", target, pages)
            if pages != PAGES[-1]:
                stop = "echo 1 > /sys/class/misc/umh_shm/stop && rmmod umh_shm"
                here.check("sh", "-c", stop)
        with tempfile.TemporaryDirectory(prefix="pageproof-bench-") as name:
            say("crashing the guest for its vmcore")
            for form, dump in here.crash(Path(name), ("elf", "lzo", "zstd")).items():
                row(form, ["-c", str(dump)], PAGES[-1])
    with boot.boot(kernel, built=built) as here:
        here.load_module()
        start = "for i in $(seq $0); do sleep 3600 >/dev/null 2>&1 </dev/null & done"
        here.check("sh", "-c", start, str(PROCESSES))
        target = ["--qemu", str(here.sockets.qmp)]
        report = measured(
            [sys.executable, "-m", "pageproof", *target, "verify", "--format", "json"]
        )
        pages = json.loads(report.out)["summary"]["pages"]
        row(f"{PROCESSES} proc.", target, pages, (), "all_vmas.py")
