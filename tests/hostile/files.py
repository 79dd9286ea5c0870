# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are no dumps, and files that change while they are read."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hostile.bases import Base
from hostile.containers import Case, Damage

_NOBODY = 65534
#: A command takes less on any host, so that some of these are before, and some after the reads.
_DELAYS_MS = (0, 1, 3, 10, 20, 30, 50, 80, 120, 200, 300)
_SCENES = (
    "empty",
    "directory",
    "null",
    "zero",
    "full",
    "fifo",
    "socket",
    "missing",
    "loop of links",
    "name of 300 bytes",
    "no permission",
    "other content",
)


@dataclass(frozen=True)
class Staged:
    """A file, and what happens to it.

    Attributes:
        in_child: called in the process of the command, before it starts.
        meanwhile: called in the parent while the command runs.
    """

    path: Path
    in_child: Callable[[], None] = lambda: None
    meanwhile: Callable[[], None] = lambda: None


def scene(base: Base, rng: random.Random) -> Case:
    """Return the case of a scene. Half of them are files that change while they are read."""
    if rng.random() < 0.5:
        name = rng.choice(_SCENES)
    else:
        size = base.path.stat().st_size
        kind = rng.choice(("shrinks", "shrinks", "grows", "is replaced"))
        to = rng.choice((0, 100, 4096, size // 16, size // 2, size - 4096))
        name = f"{kind} {rng.choice(_DELAYS_MS)} {to}"
    return Case(0, "", "", "", False, True, Damage(""), (), scene=name)


@contextmanager
def staged(name: str, copy: Path) -> Iterator[Staged]:
    """Set a scene, and clean it up."""
    if not name:
        yield Staged(copy)
        return
    if name.startswith(("shrinks", "grows", "is replaced")):
        *_, delay, to = name.split()

        def meanwhile() -> None:
            time.sleep(int(delay) / 1000)
            if name.startswith("shrinks"):
                os.truncate(copy, int(to))
            elif name.startswith("grows"):
                with copy.open("ab") as file:
                    file.write(b"\xa5" * 4096)
            else:
                _scramble(copy, int(to))

        yield Staged(copy, meanwhile=meanwhile)
        if name.startswith("is replaced"):
            os.truncate(copy, 0)  # so that everything is written back
        return
    path = copy.with_name("file")
    try:
        yield _make(name, path, copy)
    finally:
        with suppress(OSError):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _scramble(copy: Path, start: int) -> None:
    """Overwrite some of a file, as a program that writes it anew would."""
    with copy.open("r+b") as file:
        file.seek(start)
        file.write(b"\x5a" * min(1 << 20, copy.stat().st_size - start))


def _make(name: str, path: Path, copy: Path) -> Staged:
    if name == "empty":
        path.touch()
    elif name == "directory":
        path.mkdir()
    elif name in ("null", "zero", "full"):
        return Staged(Path("/dev") / name)
    elif name == "fifo":
        os.mkfifo(path)
    elif name == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif name == "loop of links":
        path.symlink_to(path)
    elif name == "name of 300 bytes":
        return Staged(path.with_name("n" * 300))
    elif name == "other content":
        path.write_bytes(b"no dump, but text\n" * 9999)
    elif name == "no permission":
        path.write_bytes(copy.read_bytes()[:65536])
        path.chmod(0)
        return Staged(path, in_child=_become_nobody)
    return Staged(path)


def _become_nobody() -> None:
    if os.getuid() == 0:  # who may read everything
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
