# SPDX-License-Identifier: GPL-2.0-or-later
"""Atomic writing of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from pageproof.errors import PageproofError

#: Read and write for everybody, less what the umask removes.
_MODE: Final = 0o666


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a temporary file, and rename it at the end: a reader never sees half a report.

    If the block raises anything, the temporary file is removed and ``path`` stays as it was.

    Raises:
        PageproofError: the file cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8") as file:
                yield file  # a pipe or /dev/stdout cannot be replaced
            return
        # The name is chosen before the file exists, so that no interrupt can leave it behind.
        temporary = path.with_name(f".pageproof-{os.urandom(8).hex()}")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                yield file
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise PageproofError(f"can't write the report: {reason}", f"-o {path}") from None
