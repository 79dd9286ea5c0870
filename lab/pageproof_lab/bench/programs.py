# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the C programs of the benchmark."""

from pathlib import Path

from pageproof_lab.paths import cache_lock, source_dir
from pageproof_lab.proc import run


def build_programs() -> Path:
    """Build lab/bench_programs/ and return the directory of the programs.

    Raises:
        LabError: make failed.
    """
    with cache_lock("bench-programs"):  # another benchmark may start in the same clone
        run(["make", "--no-print-directory", "-C", source_dir() / "lab/bench_programs"], show=True)
    return source_dir() / "build/lab-bench"
