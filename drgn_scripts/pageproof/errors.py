# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that end the program: what happened, where, and what to do about it."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    SOUND = 0
    """Everything that was asked was decided and is sound."""
    WRONG = 1
    """At least one DIFFERENT or error finding."""
    USAGE = 2
    """Wrong usage, or a target that can't be opened."""
    UNDECIDED = 3
    """Nothing wrong, but something could not be decided, or there was nothing to decide."""
    CRASHED = 70
    """A bug in pageproof (EX_SOFTWARE of sysexits.h)."""


class PageproofError(Exception):
    """Something that the user has to put right.

    Attributes:
        what: what went wrong, without a full stop.
        where: the file, socket or address that it went wrong at; "" for none.
        remedy: what to do about it; "" if that is plain.
        exit_code: USAGE, but UNDECIDED where there is nothing to look at.
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
    """Data that could not be read to the end; on a live target another look may succeed."""


class ReaderGoneError(BrokenPipeError):
    """Of standard output, not of a socket to the target."""
