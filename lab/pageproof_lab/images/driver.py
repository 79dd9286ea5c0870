# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab make`: build the user's out-of-tree driver for a kernel of the lab."""

import os
import shutil
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.images.roots import build_root
from pageproof_lab.paths import cache_lock
from pageproof_lab.proc import Failed, run_in_root, say

_ELF = b"\x7fELF"
#: Not needed for a build.
_NOT_COPIED = shutil.ignore_patterns(".git")


def make(kernel: Kernel, source: Path, into: Path, words: list[str]) -> list[Path]:
    """Run make on a copy of a driver's directory, with KDIR and CC for a kernel of the lab.

    Args:
        kernel: the kernel to build for.
        source: directory with a Makefile.
        into: directory to copy the new modules and programs to; it is created.
        words: more arguments for make, such as targets.

    Returns:
        The copies of the modules and programs that make made.

    Raises:
        LabError: make failed.
    """
    root = build_root()
    place = f"build/driver-{kernel.name}"
    work = root / place
    with cache_lock(f"driver-{kernel.name}"):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(source, work, ignore=_NOT_COPIED)
        before = {path: path.stat().st_mtime_ns for path in _made(work)}
        say(f"make for {kernel.release} ({kernel.compiler})")
        try:
            run_in_root(
                root,
                [
                    *("env", f"TMPDIR=/{place}", "make", "-C", f"/{place}"),
                    *(f"KDIR={kernel.headers}", f"CC={kernel.compiler}", *words),
                ],
                show=True,
            )
        except Failed as error:  # make already showed why
            raise LabError(
                f"make failed with exit code {error.code}, see above (/{place} is {source})"
            ) from error
        made = [path for path in _made(work) if path.stat().st_mtime_ns != before.get(path)]
        into.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy2(path, into / path.name)) for path in made]


def _made(directory: Path) -> list[Path]:
    """Return the modules and programs below a directory."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if path.suffix == ".ko" or _is_program(path))


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return os.access(path, os.X_OK) and file.read(4) == _ELF
