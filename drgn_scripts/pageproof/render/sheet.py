# SPDX-License-Identifier: GPL-2.0-or-later
"""A report laid out as data: lines, facts, tables and findings, from top to bottom.

The functions in :mod:`pageproof.render.draw` fill a sheet, and a form of output such as
:mod:`pageproof.render.textform` writes it. A sheet holds strings as the target gave them: the
form escapes them, because each form has other characters to escape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pageproof.model import Finding
from pageproof.render.findings import FindingGroup, grouped

#: Text, or text and its style.
Part = str | tuple[str, str]


@dataclass(frozen=True)
class Styled:
    """Text with styles.

    Attributes:
        parts: pieces of the text, from left to right.
        style: style of the whole; the style of a part comes on top.
    """

    parts: tuple[Part, ...]
    style: str = ""


def styled(*parts: Part, style: str = "") -> Styled:
    """Return text with styles, for a line or for a cell of a table."""
    return Styled(parts, style)


Cell = str | Styled
#: A label, and one or two texts.
Fact = tuple[str, Cell] | tuple[str, Cell, Cell]


@dataclass(frozen=True)
class Line:
    """A line; the empty one separates parts of the report.

    Attributes:
        fold: continue on the next line, indented, where the width is used up.
    """

    text: Styled
    fold: bool = True


@dataclass(frozen=True)
class Facts:
    """Facts with their labels; an empty label continues the fact above."""

    rows: tuple[Fact, ...]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: "" for none.
        fold: continue a long cell on the next line; other columns are never folded.
        right: align at the right, for numbers.
        style: style of its cells.
    """

    heading: str = ""
    fold: bool = False
    right: bool = False
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        gap: blanks between two columns.
    """

    columns: tuple[Column, ...]
    rows: tuple[Sequence[Cell], ...]
    gap: int


@dataclass(frozen=True)
class Findings:
    """Findings.

    Attributes:
        most: number of groups to show one by one; None for all. The others are counted.
    """

    groups: tuple[FindingGroup, ...]
    most: int | None = None


Block = Line | Facts | Table | Findings


class Sheet:
    """Collects the parts of a report.

    Attributes:
        verbose: show every page, entry or range.
        blocks: the parts, from top to bottom.
        least_width: columns that the tables need; a narrower terminal folds the lines itself.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.blocks: list[Block] = []
        self.least_width = 0

    def gap(self) -> None:
        """Add an empty line."""
        self.blocks.append(Line(styled()))

    def line(self, *parts: Part, style: str = "", fold: bool = True) -> None:
        """Add a line of text."""
        self.blocks.append(Line(Styled(parts, style), fold))

    def facts(self, facts: Iterable[Fact]) -> None:
        """Add facts with their labels."""
        self.blocks.append(Facts(tuple(facts)))

    def table(
        self, columns: Iterable[Column], rows: Iterable[Sequence[Cell]], gap: int = 2
    ) -> None:
        """Add a table; nothing if it has no rows."""
        block = Table(tuple(columns), tuple(rows), gap)
        if block.rows:
            self.blocks.append(block)

    def findings(self, findings: Iterable[Finding], most: int | None = None) -> None:
        """Add findings, the worst first; those that say the same are shown as one.

        Args:
            findings: of any severity.
            most: number to show one by one (default: all).
        """
        self.blocks.append(Findings(tuple(grouped(findings)), most))

    def finding(self, group: FindingGroup) -> None:
        """Add one finding, or several that say the same."""
        self.blocks.append(Findings((group,)))
