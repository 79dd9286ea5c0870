# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that a command will write: checked before the work, so that it is not lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pageproof.errors import PageproofError


def check_writable(path: Path, what: str, where: str) -> None:
    """Check that a file can be written, or created in its directory.

    The check does not replace that of the writing: a disk can become full meanwhile.

    Args:
        path: of the file.
        what: the file will contain: "report".
        where: the option, for the message.

    Raises:
        PageproofError: it cannot be written.
    """
    directory = path.parent
    code = 0
    if path.is_dir():
        code = errno.EISDIR
    elif path.exists() and not path.is_file():  # a pipe or a terminal
        code = 0 if os.access(path, os.W_OK) else errno.EACCES
    elif not directory.exists():
        code = errno.ENOENT
    elif not directory.is_dir():
        code = errno.ENOTDIR
    elif not os.access(directory, os.W_OK | os.X_OK):
        code = errno.EACCES
    if code:
        raise PageproofError(
            f"can't write the {what}: {os.strerror(code)}", where, "choose another file"
        )
