# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that the user names. Opening one never blocks, and the size of a read is limited."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from pageproof.errors import PageproofError

#: Maximum size of a saved report or a baseline. Parsed JSON takes up to 20 times its size.
MAX_TEXT_BYTES: Final = 64 << 20

_KINDS: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class NotAFileError(OSError):
    """The path is not a regular file.

    Attributes:
        kind: what it is, such as "a directory".
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Opening a FIFO waits for a writer, and opening a terminal may wait for its line, so the open is
    non-blocking. The kind is checked on the open descriptor.

    Raises:
        NotAFileError: it is not a regular file.
        OSError: as open(2).
    """
    try:
        file = open(path, "rb", opener=_open)  # noqa: SIM115  Path.open() has no opener
    except IsADirectoryError:
        raise NotAFileError("a directory") from None
    try:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for test, name in _KINDS if test(mode)), "not a regular file")
            raise NotAFileError(kind)
    except BaseException:
        file.close()
        raise
    return file


def _open(path: str, _: int) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def read_text(path: Path, what: str, where: str) -> str:
    """Read a small text file. A pipe is allowed, such as ``<(ssh …)`` of a shell.

    Args:
        path: the file.
        what: name of the expected content for messages, such as "report".
        where: the file as messages show it.

    Raises:
        PageproofError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PageproofError(f"can't read the {what}: {reason}", where, "check the path") from None
    if len(data) > MAX_TEXT_BYTES:
        raise PageproofError(
            f"this is not a {what}: it has more than {MAX_TEXT_BYTES >> 20} MiB", where
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise PageproofError(f"this is not a {what}, but binary data", where) from None
