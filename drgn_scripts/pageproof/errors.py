# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that end the program: what is wrong, where, and what to do."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    SOUND = 0
    """Everything that was asked is decided and sound."""
    WRONG = 1
    """At least one DIFFERENT page or error finding."""
    USAGE = 2
    """Wrong usage, or a target that cannot be opened."""
    UNDECIDED = 3
    """Nothing is wrong, but something could not be decided, or there was nothing to decide."""
    CRASHED = 70
    """A bug in pageproof (EX_SOFTWARE of sysexits.h)."""


class PageproofError(Exception):
    """An error that the user can fix.

    Attributes:
        what: what is wrong, without a full stop.
        where: the file, socket or address; "" for none.
        remedy: what to do; "" if that is obvious.
        exit_code: USAGE, or UNDECIDED if there is nothing to examine.
    """

    def __init__(
        self, what: str, where: str = "", remedy: str = "", exit_code: Exit = Exit.USAGE
    ) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        self.exit_code = exit_code
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.what
        if self.where:
            text += f", {self.where}"
        if self.remedy:
            text += f"; {self.remedy}"
        return text


class TornError(PageproofError):
    """Data that could not be read completely; on a live target another attempt may succeed."""


class ReaderGoneError(BrokenPipeError):
    """The reader of standard output has exited; not for a socket to the target."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM: the program ends as after Ctrl-C, so that nothing is left half-done."""
