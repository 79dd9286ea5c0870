# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories of the lab: a cache that stays, a run directory that does not, the clone."""

import contextlib
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from pageproof_lab import LabError

# A lab's name is the name of its directory: no "/", no "..", and short because the path of a Unix
# socket in it must fit into 107 bytes.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
UNUSED_SECONDS = 7 * 24 * 3600  # cache entries that were not used for this long are removed


def cache_dir() -> Path:
    """Return `$XDG_CACHE_HOME/pageproof` and create it (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "pageproof"
    path.mkdir(parents=True, exist_ok=True)
    return path


def run_dir() -> Path:
    """Return the directory of the running labs and create it.

    Its path is short because the path of a Unix socket ends at 107 bytes.

    Raises:
        LabError: it cannot be created, or other users can change it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "pageproof" if base else Path(f"/tmp/pageproof-{os.getuid()}")
    other = "set XDG_RUNTIME_DIR to a directory that you own"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = path.lstat()
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}; {other}") from error
    # lstat() because stat() follows links: in /tmp any user can create a link to one of our own
    # directories, and the lab removes old directories that it finds in its run directory.
    if not stat.S_ISDIR(there.st_mode):
        raise LabError(f"{path} is not a directory (symbolic links are not followed); {other}")
    if there.st_uid != os.getuid():
        raise LabError(f"{path} belongs to another user; {other}")
    if there.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LabError(f"{path}: others can write to it; run: chmod go-w {path}")
    return path


def lab_dir(name: str) -> Path:
    """Return the directory of a lab, which may not exist.

    Raises:
        LabError: a lab cannot have this name.
    """
    if not NAME.fullmatch(name):
        raise LabError(
            f"{name!r} cannot name a lab: use up to 40 letters, digits, '_', '.' and '-', "
            "beginning with a letter or digit"
        )
    return run_dir() / name


def source_dir() -> Path:
    """Return the root of the clone: the lab builds its module and copies it into the guest.

    Raises:
        LabError: this pageproof runs outside a clone, and PAGEPROOF_SOURCE does not name one.
    """
    named = os.environ.get("PAGEPROOF_SOURCE")
    candidates = [Path(named)] if named else [Path(__file__).resolve().parents[2], Path.cwd()]
    for path in candidates:
        if (path / "lab/guest_files/init").is_file():
            return path
    raise LabError(
        f"no pageproof clone at {' or '.join(map(str, candidates))}: run the lab from a clone, "
        "or set PAGEPROOF_SOURCE to one"
    )


def python_path(source: Path) -> str:
    """Return the PYTHONPATH with which a clone's pageproof runs on the host.

    setup/setup.sh writes the same into build/bin/pageproof.
    """
    return os.pathsep.join(
        f"{source}/{sub}" for sub in ("drgn_scripts", "kdump", "lab", "build/lib")
    )


@contextlib.contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Hold a lock of the cache, so that one process builds a thing and others wait for it."""
    locks = cache_dir() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def drop_unused(directory: Path) -> None:
    """Remove entries of a cache directory that were not used for `UNUSED_SECONDS`.

    Code that uses an entry sets its time (os.utime).
    """
    for old in directory.iterdir():
        if time.time() - old.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(old)
