# SPDX-License-Identifier: GPL-2.0-or-later
"""This room writes reports in each form of output. It computes nothing.

``table`` lists which report is drawn by what, ``draw/`` lays reports out on a sheet, and a module
``*form`` turns a sheet or a report into text. ``junit/`` and ``drgn/`` hold the forms that only
some reports have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

#: Receives the text of a report piece by piece.
Write = Callable[[str], object]

#: Columns where there is no terminal; both walks of a page fit side by side.
PLAIN_WIDTH: Final = 110


def _no_rules(kind: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Options:
    """How to write a report, whatever the form.

    Attributes:
        verbose: show every page, entry or range.
        width: columns of text.
        color: use the terminal's colours.
        rules: for JUnit, returns the ids of the rules that apply to regions of a kind.
        strict: for JUnit, a page that nobody has touched is undecided rather than skipped.
    """

    verbose: bool = False
    width: int = PLAIN_WIDTH
    color: bool = False
    rules: Callable[[str], Sequence[str]] = _no_rules
    strict: bool = True
