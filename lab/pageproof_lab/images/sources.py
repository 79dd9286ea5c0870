# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of the clone from which cache entries are made."""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from pageproof_lab.paths import source_dir

_MADE = {".o", ".ko", ".mod", ".cmd", ".d", ".pyc"}


def source_files(*folders: str) -> list[Path]:
    """Return the files below some folders of the clone, without build output."""
    source = source_dir()
    return sorted(
        p for sub in folders for p in (source / sub).rglob("*") if p.is_file() and not _made(p)
    )


def _made(path: Path) -> bool:
    """Whether a file is build output."""
    return (
        path.suffix in _MADE
        or path.name.endswith((".mod.c", ".order", ".symvers"))
        or path.name.startswith(".")
    )


def digest_of(files: Iterable[Path], made_with: str) -> str:
    """Return a name for what is made from files.

    Args:
        files: files of the clone; their names and contents count.
        made_with: what else the result depends on, such as a kernel release.
    """
    source, digest = source_dir(), hashlib.sha256(made_with.encode())
    for path in files:
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def copy_sources(files: Iterable[Path], into: Path) -> None:
    """Replace a directory by a copy of files of the clone, in the same subdirectories."""
    source = source_dir()
    shutil.rmtree(into, ignore_errors=True)
    for path in files:
        target = into / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
