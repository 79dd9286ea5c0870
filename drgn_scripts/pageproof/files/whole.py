# SPDX-License-Identifier: GPL-2.0-or-later
"""Atomic writing of files."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from pageproof.errors import PageproofError


def write_whole(path: Path, text: str) -> None:
    """Write a temporary file and rename it, so that a reader never sees half a report.

    Raises:
        PageproofError: the file cannot be written.
    """
    temporary = None
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")  # a pipe or /dev/stdout cannot be replaced
            return
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        reason = error.strerror or str(error)
        raise PageproofError(f"can't write the report: {reason}", f"-o {path}") from None
