# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's files: what the checks read, below a root directory."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shlex
import zlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from pageproof_kdump.engine import NoFact

#: Limits: of a text that is read, of one read, of a program, and of links that lead to links.
_TEXT_BYTES: Final = 4 << 20
_READ_BYTES: Final = 64 << 10
PROGRAM_BYTES: Final = 64 << 20
_MAX_LINKS: Final = 40


class Machine:
    """The machine whose root directory is given.

    Args:
        root: its root directory; links are followed inside it.
        free_bytes: returns the free space for root at a path of this machine.
    """

    def __init__(
        self, root: Path = Path("/"), free_bytes: Callable[[Path], int] | None = None
    ) -> None:
        self._root = root
        self._free_bytes = free_bytes or _free_bytes

    def place(self, path: str) -> str:
        """Return where a path leads inside the machine, with all links followed.

        Raises:
            NoFact: the links do not end.
        """
        done = PurePosixPath("/")
        left = list(reversed(PurePosixPath(path).parts[1:]))
        links = 0
        while left:
            part = left.pop()
            if part == "..":
                done = done.parent
                continue
            here = done / part
            try:
                leads_to = PurePosixPath(self._host(here).readlink())
            except OSError:
                done = here
                continue
            links += 1
            if links > _MAX_LINKS:
                raise NoFact(f"{path} is a link that leads to itself")
            if leads_to.is_absolute():
                done = PurePosixPath("/")
            left += reversed([one for one in leads_to.parts if one != "/"])
        return str(done)

    def _host(self, path: PurePosixPath) -> Path:
        return self._root / path.relative_to("/")

    def host_path(self, path: str) -> Path:
        """Return the file on this machine that a path of the machine leads to."""
        return self._host(PurePosixPath(self.place(path)))

    def data(self, path: str, limit: int = _TEXT_BYTES, start: int = 0) -> bytes:
        """Return the content of a file, from an offset on and up to a limit.

        Raises:
            NoFact: it cannot be read.
        """
        try:
            with self.host_path(path).open("rb", buffering=0) as file:
                if start:
                    file.seek(start)
                return _read(file, limit)
        except OSError as error:
            # procfs and sysfs refuse with EPERM; the file's mode with EACCES.
            denied = error.errno in (errno.EACCES, errno.EPERM)
            raise NoFact(
                f"cannot read {path}: {error.strerror}",
                "run it as root" if denied else "",
                is_absent=isinstance(error, FileNotFoundError),
            ) from None

    def text(self, path: str) -> str:
        """Return the content of a file as text.

        Raises:
            NoFact: it cannot be read.
        """
        return self.data(path).decode("utf-8", "replace")

    def number(self, path: str) -> int:
        """Return the number in a file of sysfs or procfs.

        Raises:
            NoFact: it cannot be read, or is no number.
        """
        text = self.text(path).strip()
        try:
            return int(text)
        except ValueError:
            raise NoFact(f"{path} is {text[:40]!r}, not a number") from None

    def exists(self, path: str) -> bool:
        """Return whether a path leads to something."""
        try:
            return self.host_path(path).exists()
        except (NoFact, OSError):
            return False

    def names(self, path: str) -> list[str]:
        """Return the names in a directory, sorted; none if it cannot be read."""
        try:
            return sorted(one.name for one in self.host_path(path).iterdir())
        except (NoFact, OSError):
            return []

    def bytes_free_at(self, path: str) -> tuple[str, int]:
        """Return the nearest directory that exists, and the free space there."""
        at = PurePosixPath(self.place(path))
        while not self._host(at).is_dir() and at != at.parent:
            at = at.parent
        try:
            return str(at), self._free_bytes(self._host(at))
        except OSError as error:
            raise NoFact(f"cannot find out the free space at {at}: {error.strerror}") from None

    @cached_property
    def release(self) -> str:
        """``uname -r``."""
        return self._uname("osrelease", os.uname().release)

    @cached_property
    def name(self) -> str:
        """Its host name."""
        return self._uname("hostname", os.uname().nodename)

    def _uname(self, name: str, here: str) -> str:
        """Return one of the names that uname(2) returns here."""
        if self._root == Path("/"):
            return here
        return self.text(f"/proc/sys/kernel/{name}").strip()

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The words of the kernel's command line."""
        return tuple(self.text("/proc/cmdline").split())

    @cached_property
    def memory_kib(self) -> Mapping[str, int]:
        """``/proc/meminfo``, in KiB."""
        found = {}
        for line in self.text("/proc/meminfo").splitlines():
            name, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdecimal():
                found[name] = int(words[0])
        return found

    @cached_property
    def config(self) -> tuple[str, frozenset[str]]:
        """Where the kernel's configuration was found, and its lines that set something.

        Raises:
            NoFact: it is nowhere.
        """
        release = self.release
        places = (
            f"/boot/config-{release}",
            "/proc/config.gz",
            f"/lib/modules/{release}/config",
            f"/lib/modules/{release}/build/.config",
            f"/usr/src/linux-headers-{release}/.config",
        )
        for path in places:
            try:
                data = self.data(path)
                if path.endswith(".gz"):
                    data = gzip.decompress(data)
            except (NoFact, OSError, EOFError, zlib.error):
                continue
            lines = data.decode("utf-8", "replace").splitlines()
            return path, frozenset(line for line in lines if line.startswith("CONFIG_"))
        raise NoFact(
            f"the configuration of Linux {release} is neither in /boot nor in /proc/config.gz"
        )


def _read(file: io.RawIOBase, limit: int) -> bytes:
    """Read up to a limit; files of /proc/sys refuse one large read (ENOMEM)."""
    parts = []
    while limit > 0 and (part := file.read(min(limit, _READ_BYTES))):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize  # the dump is written by root


def shell_variables(text: str) -> dict[str, str]:
    """Return the variables that a file of assignments sets, such as one of /etc/default.

    Only plain assignments are read. A value with an expansion of the shell is left out.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals or not name.replace("_", "a").isalnum():
            continue
        found.pop(name, None)
        if "$" in value or "`" in value:
            continue
        try:
            words = shlex.split(value, comments=True)
        except ValueError:  # quotes over several lines
            continue
        found[name] = words[0] if words else ""
    return found
