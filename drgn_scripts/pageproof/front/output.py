# SPDX-License-Identifier: GPL-2.0-or-later
"""Write reports to standard output or to a file, and progress to standard error."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pageproof.errors import PageproofError, ReaderGoneError
from pageproof.files.whole import write_whole
from pageproof.render import PLAIN_WIDTH, Options
from pageproof.render.printable import printable


def write_report(report: Any, form: str, path: Path | None, options: Options | None = None) -> None:
    """Write a report to a file or to standard output, as wide as the terminal.

    Args:
        report: of a type in :data:`pageproof.render.table.REPORTS`.
        form: name of the form.
        path: the file; None for standard output.
        options: how to write it; width and colour are set here.

    Raises:
        PageproofError: it cannot be written.
    """
    from pageproof.render import table

    terminal = path is None and sys.stdout is not None and sys.stdout.isatty()
    width = max(shutil.get_terminal_size().columns, 60) if terminal else PLAIN_WIDTH
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    options = replace(options or Options(), width=width, color=color)
    write_text(table.write_report(report, form, options), path)


def write_text(text: str, path: Path | None) -> None:
    """Write text to standard output, or to a file, which is never left half written.

    Raises:
        PageproofError: it cannot be written.
    """
    if path is not None:
        write_whole(path, text)
        return
    if sys.stdout is None:  # Python was started with descriptor 1 closed
        raise PageproofError(
            "cannot write the report: standard output is closed", "", "use -o FILE"
        )
    print_out(text)


def print_out(text: str = "") -> None:
    """Write text to standard output and flush it.

    Raises:
        ReaderGoneError: the reader has exited (``| head``).
        PageproofError: the text cannot be written; the disk may be full.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError(error.errno, error.strerror) from None
    except OSError as error:
        abandon()
        raise PageproofError(
            f"cannot write: {error.strerror or error}", "standard output"
        ) from None


def abandon() -> None:
    """Discard what standard output still buffers; otherwise Python fails on it again at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Progress:
    """A line on standard error that is overwritten; nothing if that is not a terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr is not None and sys.stderr.isatty()
        self._shown = False

    def say(self, message: str) -> None:
        if self._on:
            sys.stderr.write(f"\r\033[K{printable(message)} …")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self._shown = False
