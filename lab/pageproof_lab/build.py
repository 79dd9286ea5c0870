# SPDX-License-Identifier: GPL-2.0-or-later
"""umh_shm.ko and what tests run in the guest, built in the build root for a kernel's headers."""

import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from . import debuginfo
from .kernels import Kernel
from .paths import cache_dir, cache_lock, source_dir
from .proc import VERBOSE, run_in_root, say
from .roots import build_root

UNUSED_SECONDS = 7 * 24 * 3600  # builds that nobody asked for so long are dropped
SOURCES = ("module", "c-helper", "tests/vm")


@dataclass(frozen=True)
class Built:
    """umh_shm.ko, and the directory of what tests/vm gives."""

    module: Path
    programs: Path | None = None


def _files(source: Path) -> list[Path]:
    return sorted(
        p for sub in SOURCES for p in (source / sub).rglob("*") if p.is_file() and not _made(p)
    )


def _made(path: Path) -> bool:
    """Whether a file comes from a build in the checkout, not from its author."""
    made = {".o", ".ko", ".mod", ".cmd", ".d", ".pyc"}
    return (
        path.suffix in made
        or path.name.endswith((".mod.c", ".order", ".symvers"))
        or path.name.startswith(".")
    )


def build(kernel: Kernel) -> Built:
    """Build for one kernel; unchanged sources are built once."""
    source = source_dir()
    digest = hashlib.sha256(kernel.release.encode())
    for path in _files(source):
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes())
    place = cache_dir() / "modules" / kernel.series / digest.hexdigest()[:16]
    with cache_lock(f"module-{kernel.series}"):
        if not place.is_dir():
            _build(kernel, source, place)
        os.utime(place)
    return Built(place / "umh_shm.ko", place / "vm")


def _copy_sources(source: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    for path in _files(source):
        target = work / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def make(kernel: Kernel, *words: str, show: bool = False) -> str:
    """Run make in the module's directory inside the build root, on a fresh copy of the sources."""
    root = build_root()
    work = root / "build" / kernel.series
    _copy_sources(source_dir(), work)
    return _make(kernel, root, "module", *words, show=show)


def _make(kernel: Kernel, root: Path, directory: str, *words: str, show: bool = False) -> str:
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
        show=show,
    )


def _build(kernel: Kernel, source: Path, place: Path) -> None:
    say(f"building umh_shm.ko for {kernel.release} ({kernel.compiler})")
    make(kernel)
    root = build_root()
    work = root / "build" / kernel.series
    if (work / "tests/vm/Makefile").is_file():
        _make(kernel, root, "tests/vm")
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copy2(work / "module/umh_shm.ko", part)
    shutil.copytree(work / "tests/vm", part / "vm")
    for old in place.parent.iterdir():
        if time.time() - old.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(old)
    part.rename(place)
    debuginfo.publish(place / "umh_shm.ko")
