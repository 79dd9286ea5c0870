# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of the checkout that something in the cache is made of."""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from pageproof_lab.paths import source_dir

_MADE = {".o", ".ko", ".mod", ".cmd", ".d", ".pyc"}


def source_files(*folders: str) -> list[Path]:
    """All below some folders of the checkout, without what a build in it left there."""
    source = source_dir()
    return sorted(
        p for sub in folders for p in (source / sub).rglob("*") if p.is_file() and not _made(p)
    )


def _made(path: Path) -> bool:
    """Whether a file comes from a build in the checkout, not from its author."""
    return (
        path.suffix in _MADE
        or path.name.endswith((".mod.c", ".order", ".symvers"))
        or path.name.startswith(".")
    )


def digest_of(files: Iterable[Path], made_with: str) -> str:
    """A name for what is made of files: other files, names or tools, another digest."""
    source, digest = source_dir(), hashlib.sha256(made_with.encode())
    for path in files:
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def copy_sources(files: Iterable[Path], into: Path) -> None:
    """Copy files of the checkout to the same places below a directory that is made anew."""
    source = source_dir()
    shutil.rmtree(into, ignore_errors=True)
    for path in files:
        target = into / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
