# SPDX-License-Identifier: GPL-2.0-or-later
"""Write reports to standard output or to a file, and progress to standard error."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pageproof.errors import PageproofError, ReaderGoneError
from pageproof.files.whole import whole_file
from pageproof.render import PLAIN_WIDTH, Options, Write
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
    with _opened(path) as write:
        table.write_report(report, form, options, write)


def write_text(text: str, path: Path | None) -> None:
    """Write text to standard output, or to a file, which is never left half written.

    Raises:
        PageproofError: it cannot be written.
    """
    with _opened(path) as write:
        write(text)


@contextmanager
def _opened(path: Path | None) -> Iterator[Write]:
    """Give a function that writes pieces of a text to a file, or to standard output if None.

    Raises:
        PageproofError: the text cannot be written.
    """
    if path is not None:
        with whole_file(path) as file:
            yield file.write
        return
    if sys.stdout is None:  # Python was started with descriptor 1 closed
        raise PageproofError(
            "cannot write the report: standard output is closed", "", "use -o FILE"
        )
    with _standard_output():
        yield sys.stdout.write
    flush_out()


def flush_out() -> None:
    """Write what standard output buffers.

    Raises:
        ReaderGoneError: the reader has exited (``| head``).
        PageproofError: the text cannot be written; the disk may be full.
    """
    if sys.stdout is not None:
        with _standard_output():
            sys.stdout.flush()


@contextmanager
def _standard_output() -> Iterator[None]:
    """Turn errors of standard output into those of :func:`flush_out`."""
    try:
        yield
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
