# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps that become shorter while they are read.

The engine and libkdumpfile map a dump. When another process truncates the file, reading what was
cut off raises SIGBUS, which Python cannot handle: its handlers run between two of its instructions,
and the read would be repeated for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pageproof.errors import Exit, PageproofError

#: The engine's limit; a hundred parts with long names have more.
_MOST_BYTES: Final = 8192


def exit_if_it_shrinks(paths: Sequence[Path], line_of: Callable[[PageproofError], str]) -> None:
    """Let the process end with a message if a file that it maps becomes shorter.

    For the command ``pageproof`` only, as the handler is that of the whole process.

    Args:
        paths: the file, or the parts of a split dump.
        line_of: returns an error as it is printed.
    """
    try:
        import pageproof_pagewalk as engine
    except ImportError:
        return
    error = PageproofError(
        "the dump became shorter while it was read, or its disk failed (SIGBUS)",
        " ".join(f"-c {path}" for path in paths),
        "wait until it is written, then try again",
    )
    line = line_of(error).encode("utf-8", "backslashreplace")
    engine.guard_mappings(line[:_MOST_BYTES], int(Exit.USAGE))
