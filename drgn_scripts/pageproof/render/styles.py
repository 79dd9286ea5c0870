# SPDX-License-Identifier: GPL-2.0-or-later
"""Styles of text, by rich's names; each form of output may translate them."""

from __future__ import annotations

from typing import Final

from pageproof.model import Permissions, Severity, Verdict

TITLE: Final = "bold"
#: Labels, and whatever matters less.
LABEL: Final = "dim"
GOOD: Final = "bold green"
BAD: Final = "bold red"
DOUBT: Final = "bold yellow"
#: The terminal's own colour, over the style of a line.
PLAIN: Final = "default"

SEVERITIES: Final = {Severity.ERROR: BAD, Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
VERDICTS: Final = {Verdict.SAME: GOOD, Verdict.DIFFERENT: BAD, Verdict.UNKNOWN: DOUBT}


def of_exit(code: int) -> str:
    """Return the style of a report's last line, by its exit code."""
    return {0: GOOD, 1: BAD}.get(code, DOUBT)


def of_access(permissions: Permissions | None) -> str:
    """Return a style for access rights; writable and executable at once is a warning."""
    if permissions is None or not permissions.access:
        return ""
    return of_rights(write=permissions.write, execute=permissions.execute)


def of_rights(*, write: bool, execute: bool) -> str:
    """Return a style for memory that is writable, executable, or both."""
    if write and execute:
        return BAD
    return "yellow" if write else "green" if execute else ""
