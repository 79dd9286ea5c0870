# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the lab keeps things: a cache that survives, a run directory that does not."""

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

# A lab's name is that of its directory: no "/", not "..", and short, as sockets are in there.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
UNUSED_SECONDS = 7 * 24 * 3600  # what nobody asked for so long is dropped


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/pageproof`, made if need be (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "pageproof"
    path.mkdir(parents=True, exist_ok=True)
    return path


def run_dir() -> Path:
    """Directory of the running labs; short, as a Unix socket's path ends at 107 bytes."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "pageproof" if base else Path(f"/tmp/pageproof-{os.getuid()}")
    other = "set XDG_RUNTIME_DIR to a directory of yours"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = path.lstat()
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}; {other}") from error
    # Not stat(): in /tmp anybody can plant a link to a directory of ours, and the lab removes old
    # directories that it finds in its run directory.
    if not stat.S_ISDIR(there.st_mode):
        raise LabError(f"{path} is not a directory (a symbolic link is not followed); {other}")
    if there.st_uid != os.getuid():
        raise LabError(f"{path} belongs to somebody else; {other}")
    if there.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LabError(f"{path}: others can write to it; run: chmod go-w {path}")
    return path


def lab_dir(name: str) -> Path:
    """Directory of the lab of that name, which may not exist.

    :raises LabError: no lab can have that name.
    """
    if not NAME.fullmatch(name):
        raise LabError(
            f"{name!r} cannot name a lab: use up to 40 letters, digits, '_', '.' and '-', "
            "beginning with a letter or digit"
        )
    return run_dir() / name


def source_dir() -> Path:
    """Root of the checkout: the lab builds the module and hands the project to the guest."""
    named = os.environ.get("PAGEPROOF_SOURCE")
    candidates = [Path(named)] if named else [Path(__file__).resolve().parents[2], Path.cwd()]
    for path in candidates:
        if (path / "lab/guest_files/init").is_file():
            return path
    raise LabError(
        f"no pageproof checkout at {' or '.join(map(str, candidates))}: run the lab from a clone, "
        "or name one in PAGEPROOF_SOURCE"
    )


@contextlib.contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Only one process builds a thing in the cache; the others wait and find it built."""
    locks = cache_dir() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def drop_unused(directory: Path) -> None:
    """Remove what is in a directory of the cache and was not asked for in a week.

    Whoever uses an entry sets its time (os.utime).
    """
    for old in directory.iterdir():
        if time.time() - old.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(old)
