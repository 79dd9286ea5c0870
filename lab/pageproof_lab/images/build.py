# SPDX-License-Identifier: GPL-2.0-or-later
"""Build umh_shm.ko and the tests' programs for a kernel, in the build root."""

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
HELPER = "umh_shm_helper.debug"


@dataclass(frozen=True)
class Built:
    """umh_shm.ko, its helper with symbols, and the programs and modules of tests/vm."""

    module: Path
    programs: Path | None = None
    helper: Path | None = None


def build(kernel: Kernel) -> Built:
    """Build for one kernel, unless the cache has a build of the same sources.

    Raises:
        LabError: make failed.
    """
    digest = digest_of(source_files(*SOURCES), kernel.release)
    place = cache_dir() / "modules" / kernel.name / digest
    with _lock(kernel):
        if not place.is_dir():
            _build(kernel, place)
        os.utime(place)
    return Built(place / "umh_shm.ko", place / "vm", place / HELPER)


def make(kernel: Kernel, *words: str) -> str:
    """Run make in module/, on a fresh copy of the sources in the build root.

    Returns:
        What make printed.

    Raises:
        LabError: make failed.
    """
    with _lock(kernel):
        return _make_fresh(kernel, *words)


def _lock(kernel: Kernel) -> AbstractContextManager[None]:
    """Return the lock of a kernel's build directory, which all clones of a user share."""
    return cache_lock(f"module-{kernel.name}")


def _make_fresh(kernel: Kernel, *words: str) -> str:
    root = build_root()
    work = root / "build" / kernel.name
    copy_sources(source_files(*SOURCES), work)
    return _make(kernel, root, "module", *words)


def _make(kernel: Kernel, root: Path, directory: str, *words: str) -> str:
    return run_in_root(
        root,
        [
            # TMPDIR: each build has its own PID namespace, so two makes that run at once would
            # use the same names in /tmp, such as the jobserver's /tmp/GMfifo1.
            "env",
            f"TMPDIR=/build/{kernel.name}",
            "make",
            "-j2",
            "-C",
            f"/build/{kernel.name}/{directory}",
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
    work = root / "build" / kernel.name
    if (work / "tests/vm/Makefile").is_file():
        _make(kernel, root, "tests/vm")
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copy2(work / "module/umh_shm.ko", part)
    shutil.copy2(work / "c-helper/helper" / HELPER, part)
    shutil.copytree(work / "tests/vm", part / "vm")
    drop_unused(place.parent)
    part.rename(place)
    debuginfo.publish(place / "umh_shm.ko")
