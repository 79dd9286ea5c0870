# SPDX-License-Identifier: GPL-2.0-or-later
"""A record of a watch in progress, for the case that it is killed.

QEMU's gdb stub does nothing when its client disappears (gdb_chr_event() handles only an opened
connection): the watchpoints stay, and the next hit stops the guest. The next watch finds the
record, and may resume the guest because the record names the QEMU and the watcher that stopped it.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import struct
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pageproof.errors import PageproofError

_MOST_BYTES: Final = 4096
_REMEDY: Final = "set XDG_RUNTIME_DIR to a directory that you own"


@dataclass(frozen=True)
class Record:
    """Who watches what.

    Attributes:
        qemu: identifies one run of QEMU.
        pid: of the watcher.
        start: when it started, in clock ticks since boot: PIDs are used again.
        paused: the watcher holds the guest paused now, other than by a watchpoint.
    """

    qemu: str
    pid: int
    start: int
    paused: bool

    @property
    def alive(self) -> bool:
        """Whether the watcher still runs."""
        return start_time(self.pid) == self.start


class RecordFile:
    """The record of one gdb stub.

    Args:
        address: of the stub.
        qemu: see :class:`Record`.

    Raises:
        PageproofError: there is no directory for it.
    """

    def __init__(self, address: str, qemu: str) -> None:
        self._qemu = qemu
        real = address if ":" in address and "/" not in address else os.path.realpath(address)
        name = hashlib.sha256(real.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.path = _directory() / f"{name}.json"

    def left(self) -> Record | None:
        """Return the record of a watch of this run of QEMU; None if there is none."""
        try:
            with self.path.open("rb") as file:
                found = Record(**json.loads(file.read(_MOST_BYTES)))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        typed = (
            isinstance(found.pid, int)
            and isinstance(found.start, int)
            and isinstance(found.paused, bool)
        )
        return found if typed and found.qemu == self._qemu else None

    def write(self, *, paused: bool) -> None:
        """Write that this process watches.

        Raises:
            PageproofError: it cannot be written.
        """
        pid = os.getpid()
        text = json.dumps(asdict(Record(self._qemu, pid, start_time(pid), paused)))
        temporary = self.path.with_suffix(f".{pid}")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise PageproofError(
                f"can't record the watch: {error.strerror or error}", str(self.path), _REMEDY
            ) from None

    def remove(self) -> None:
        """Remove the record."""
        with suppress(OSError):
            self.path.unlink()


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; -1 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()  # from field 3 of proc(5); comm may have spaces
        return -1 if fields[0] in ("Z", "X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return -1


def identity(connection: socket.socket, vmcoreinfo: bytes) -> str:
    """Identify one run of QEMU.

    Args:
        connection: to its monitor.
        vmcoreinfo: of the guest. With KASLR it differs in each boot.
    """
    pid = 0
    if connection.family == socket.AF_UNIX:
        length = struct.calcsize("3i")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, length)
        pid, _, _ = struct.unpack("3i", credentials)
    return f"{pid} {start_time(pid)} {hashlib.sha256(vmcoreinfo).hexdigest()}"


def _directory() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "pageproof-watch" if base else Path(f"/tmp/pageproof-watch-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = path.lstat()
    except OSError as error:
        raise PageproofError(
            f"can't record the watch: {error.strerror}", str(path), _REMEDY
        ) from None
    # Other users could forge a record in a directory that they can write to.
    if (
        not stat.S_ISDIR(there.st_mode)
        or there.st_uid != os.getuid()
        or there.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise PageproofError("others can change this directory", str(path), _REMEDY)
    return path
