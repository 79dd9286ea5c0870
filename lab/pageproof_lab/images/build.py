# SPDX-License-Identifier: GPL-2.0-or-later
"""umh_shm.ko and what tests run in the guest, built in the build root for a kernel's headers."""

import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pageproof_lab.images import debuginfo
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.images.roots import build_root
from pageproof_lab.images.sources import copy_sources, digest_of, source_files
from pageproof_lab.paths import cache_dir, cache_lock, drop_unused
from pageproof_lab.proc import VERBOSE, run_in_root, say

SOURCES = ("module", "c-helper", "tests/vm")


@dataclass(frozen=True)
class Built:
    """umh_shm.ko, and the directory of what tests/vm gives."""

    module: Path
    programs: Path | None = None


def build(kernel: Kernel) -> Built:
    """Build for one kernel; unchanged sources are built once."""
    digest = digest_of(source_files(*SOURCES), kernel.release)
    place = cache_dir() / "modules" / kernel.series / digest
    with _lock(kernel):
        if not place.is_dir():
            _build(kernel, place)
        os.utime(place)
    return Built(place / "umh_shm.ko", place / "vm")


def make(kernel: Kernel, *words: str) -> str:
    """Run make in the module's directory inside the build root, on a fresh copy of the sources."""
    with _lock(kernel):
        return _make_fresh(kernel, *words)


def _lock(kernel: Kernel) -> AbstractContextManager[None]:
    """One build at a time: all clones of a user share the build root's directory for a kernel."""
    return cache_lock(f"module-{kernel.series}")


def _make_fresh(kernel: Kernel, *words: str) -> str:
    root = build_root()
    work = root / "build" / kernel.series
    copy_sources(source_files(*SOURCES), work)
    return _make(kernel, root, "module", *words)


def _make(kernel: Kernel, root: Path, directory: str, *words: str) -> str:
    return run_in_root(
        root,
        [
            # Each build has a PID namespace of its own: in one /tmp, two makes at a time take
            # the same name, as for the jobserver (/tmp/GMfifo1).
            "env",
            f"TMPDIR=/build/{kernel.series}",
            "make",
            "-j2",
            "-C",
            f"/build/{kernel.series}/{directory}",
            f"KDIR={kernel.headers}",
            f"CC={kernel.compiler}",
            *(["V=1"] if VERBOSE else []),
            *words,
        ],
    )


def _build(kernel: Kernel, place: Path) -> None:
    say(f"building umh_shm.ko for {kernel.release} ({kernel.compiler})")
    _make_fresh(kernel)
    root = build_root()
    work = root / "build" / kernel.series
    if (work / "tests/vm/Makefile").is_file():
        _make(kernel, root, "tests/vm")
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copy2(work / "module/umh_shm.ko", part)
    shutil.copytree(work / "tests/vm", part / "vm")
    drop_unused(place.parent)
    part.rename(place)
    debuginfo.publish(place / "umh_shm.ko")
