# SPDX-License-Identifier: GPL-2.0-or-later
"""Write reports to standard output or to a file, and progress to standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

from pageproof.errors import PageproofError, ReaderGoneError
from pageproof.files.whole import whole_file
from pageproof.render import PLAIN_WIDTH, Options, Write

#: To the beginning of a line, and erase it.
_CLEARED: Final = "\r\033[K"
#: Between two counts of one step.
_INTERVAL_SECONDS: Final = 0.05
_WITHOUT_NUMBERS: Final = str.maketrans("", "", "0123456789")
#: Of a terminal that has no width, as shutil.get_terminal_size() has it.
_COLUMNS: Final = 80


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

    with opened(path) as write:
        table.write_report(report, form, fitted(options or Options(), path), write)


def fitted(options: Options, path: Path | None) -> Options:
    """Return options with the width and colours of the terminal, or of a file."""
    terminal = path is None and sys.stdout is not None and sys.stdout.isatty()
    width = max(_columns(sys.stdout), 60) if terminal else PLAIN_WIDTH
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return replace(options, width=width, color=color)


def _columns(terminal: TextIO) -> int:
    """Return the width of a terminal."""
    try:
        return int(os.environ.get("COLUMNS", "")) or _COLUMNS
    except ValueError:
        pass
    try:
        return os.get_terminal_size(terminal.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


def write_text(text: str, path: Path | None) -> None:
    """Write text to standard output, or to a file, which is never left half written.

    Raises:
        PageproofError: it cannot be written.
    """
    with opened(path) as write:
        write(text)


@contextmanager
def opened(path: Path | None, *, at_once: bool = False) -> Iterator[Write]:
    """Give a function that writes pieces of a text to a file, or to standard output if None.

    Args:
        path: the file. It appears when all is written.
        at_once: each piece reaches the reader of standard output at once.

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
        yield _write_at_once if at_once else sys.stdout.write
    flush_out()


def _write_at_once(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


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
    """The step that runs, on a line of standard error that is overwritten.

    Nothing is shown if that is not a terminal.
    """

    def __init__(self) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._on = terminal and os.environ.get("TERM") != "dumb"
        self._shown = False
        self._step = ""
        self._next = 0.0

    def say(self, message: str) -> None:
        """Show a step. A count in it, such as "region 2 of 9", is drawn as a bar too."""
        if not self._on:
            return
        step, now = message.translate(_WITHOUT_NUMBERS), time.monotonic()
        if step == self._step and now < self._next:
            return
        from pageproof.render.textform import progress_line

        color = not os.environ.get("NO_COLOR")
        line = progress_line(message, color=color, width=_columns(sys.stderr) - 1)
        # Before it is written: an interrupt may come right after that.
        self._shown, self._step, self._next = True, step, now + _INTERVAL_SECONDS
        sys.stderr.write(f"{_CLEARED}{line}")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write(_CLEARED)
            sys.stderr.flush()
            self._shown, self._step = False, ""
