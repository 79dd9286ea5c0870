# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps that become shorter while they are read.

The engine and libkdumpfile map a dump. When another process truncates the file, reading what was
cut off raises SIGBUS, which Python cannot handle: its handlers run between two of its instructions,
and the read would be repeated for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pageproof.errors import Exit, PageproofError


def exit_if_it_shrinks(path: Path, line_of: Callable[[PageproofError], str]) -> None:
    """Let the process end with a message if a file that it maps becomes shorter.

    For the command ``pageproof`` only, as the handler is that of the whole process.

    Args:
        path: the file.
        line_of: returns an error as it is printed.
    """
    try:
        import pageproof_pagewalk as engine
    except ImportError:
        return
    error = PageproofError(
        "the dump became shorter while it was read, or its disk failed (SIGBUS)",
        f"-c {path}",
        "wait until it is written, then try again",
    )
    engine.guard_mappings(line_of(error).encode("utf-8", "backslashreplace"), int(Exit.USAGE))
