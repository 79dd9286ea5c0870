# SPDX-License-Identifier: GPL-2.0-or-later
"""A sheet as text for a terminal or a file.

rich passes ESC, C1 and bidirectional controls through. So all strings of a report become
:class:`_Text`, which escapes them, and no other module of this room imports rich.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TextIO, cast

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.progress_bar import ProgressBar
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text as RichText

from pageproof.render import Write
from pageproof.render.findings import FindingGroup
from pageproof.render.printable import printable
from pageproof.render.sheet import Block, Cell, Facts, Findings, Line, Sheet, Table, styled
from pageproof.render.styles import LABEL, PLAIN, SEVERITIES
from pageproof.render.where import where_words

_LABEL_WIDTH: Final = 7
#: Before the rest of a folded line; further in than the rows of any table.
_INDENT: Final = " " * 6
#: Rows that rich lays out at once; it needs some KiB for each.
_PART_ROWS: Final = 500
#: A count in a message of progress, and the bar that shows it.
_COUNTED: Final = re.compile(r"\b([0-9]+) of ([0-9]+)\b")
_BAR_WIDTH: Final = 20
#: Of a number in a message; a name of the target may look like a longer one.
_DIGITS: Final = 15


def write_sheet(sheet: Sheet, write: Write, *, color: bool, width: int) -> None:
    """Write a sheet as text, with a newline at its end and no blanks at the ends of lines.

    Args:
        sheet: the report.
        write: receives the text piece by piece.
        color: use the terminal's escape sequences for colours.
        width: columns at which lines are folded.
    """
    out = _Lines(write)
    console = _Console(
        file=cast(TextIO, out),
        width=max(width, sheet.least_width),
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for block in sheet.blocks:
        _print(console, block)
    out.end()


def progress_line(message: str, *, color: bool, width: int) -> str:
    """Return one line without a newline: a message, and a bar if it contains a count.

    Args:
        message: such as "opening vmcore" or "region 2 of 9".
        color: use the terminal's escape sequences for colours.
        width: columns; a longer message is cut.
    """
    out = io.StringIO()
    console = _Console(
        file=out,
        width=max(width, _BAR_WIDTH + 2),
        force_terminal=color,
        color_system="standard" if color else None,
    )
    line = RichTable.grid(padding=(0, 1))
    line.add_column(no_wrap=True, overflow="ellipsis")
    cells: list[RichText | ProgressBar] = [_Text(f"{message} …")]
    found = _COUNTED.search(message)
    if found is not None:
        done, total = (float(number[:_DIGITS]) for number in found.groups())
        cells.append(ProgressBar(max(total, 1.0), min(done, total), width=_BAR_WIDTH))
    line.add_row(*cells)
    console.print(line, end="")
    return out.getvalue().rstrip("\n").rstrip(" ")


class _Lines:
    """A file for rich that passes lines on without the blanks at their ends."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self._write("".join(f"{line.rstrip()}\n" for line in lines))
        return len(text)

    def end(self) -> None:
        """Write the last line, if it has no newline."""
        if self._rest:
            self.write("\n")

    def flush(self) -> None:
        """Keep an unfinished line: its end may be blank."""


class _Text(RichText):
    """rich's Text, but every string is escaped."""

    def __init__(self, text: str = "", style: str | Style = "", **options: Any) -> None:
        super().__init__(printable(text), style, **options)

    def append(self, text: RichText | str, style: str | Style | None = None) -> _Text:
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self


class _Console(RichConsole):
    """rich's Console, but strings are escaped, and folded lines are continued with an indent."""

    def render_str(self, text: str, **options: Any) -> RichText:
        return super().render_str(printable(text), **options)

    def print_line(self, text: RichText) -> None:
        """Print a line; if it is folded, indent the rest of it.

        Otherwise a long name could be folded so that its rest looks like a line of the report.
        """
        first, *more = text.wrap(self, self.width)
        if not more:
            self.print(text)
            return
        rest = text[len(first.plain) :]
        rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
        indented = rest.wrap(self, self.width - len(_INDENT))
        self.print(RichText("\n").join([first, *(RichText(_INDENT) + line for line in indented)]))


def _print(console: _Console, block: Block) -> None:
    match block:
        case Line(text, fold):
            plain = _plain(text)
            if console.color_system is None and (not fold or cell_len(plain) <= console.width):
                console.file.write(f"{plain}\n")  # rich would take ten times as long for the same
            elif fold:
                console.print_line(_text(text))
            else:
                console.print(_text(text), soft_wrap=True)
        case Facts():
            console.print(_facts(block))
        case Table():
            for part in _tables(block):
                console.print(part)
        case Findings(groups, most):
            for group in groups[:most]:
                _print_finding(console, group)
            if most is not None and len(groups) > most:
                more = f"and {len(groups) - most} more findings"
                console.print_line(_Text(more, style=LABEL))


def _plain(cell: Cell) -> str:
    """Return a cell without its styles, escaped."""
    if isinstance(cell, str):
        return printable(cell)
    return "".join(printable(part if isinstance(part, str) else part[0]) for part in cell.parts)


def _text(cell: Cell) -> _Text:
    if isinstance(cell, str):
        return _Text(cell)
    made = _Text(style=cell.style)
    for part in cell.parts:
        if isinstance(part, str):
            made.append(part)
        else:
            made.append(*part)
    return made


def _facts(facts: Facts) -> RichTable:
    made = RichTable.grid(padding=(0, 2))
    made.add_column(style=LABEL, width=_LABEL_WIDTH, no_wrap=True)
    for _ in range(max((len(row) for row in facts.rows), default=2) - 1):
        made.add_column(overflow="fold")
    for label, *texts in facts.rows:
        made.add_row(_text(label), *map(_text, texts))
    return made


def _tables(table: Table) -> Iterator[RichTable]:
    """Yield a table, a long one in parts whose columns are equally wide."""
    widths = [0] * len(table.columns)
    long = len(table.rows) > _PART_ROWS
    for row in table.rows if long else ():
        for number, cell in enumerate(row):
            widths[number] = max(widths[number], _length(cell))
    for at in range(0, len(table.rows), _PART_ROWS):
        yield _part(table, table.rows[at : at + _PART_ROWS], widths, heading=not at)


def _length(cell: Cell) -> int:
    """Return the number of columns that a cell takes."""
    if isinstance(cell, str):
        return cell_len(printable(cell))
    return sum(_length(part if isinstance(part, str) else part[0]) for part in cell.parts)


def _part(
    table: Table, rows: Iterable[Sequence[Cell]], widths: Sequence[int], *, heading: bool
) -> RichTable:
    made = RichTable.grid(padding=(0, table.gap))
    for column, width in zip(table.columns, widths, strict=True):
        made.add_column(
            style=column.style,
            justify="right" if column.right else "left",
            no_wrap=not column.fold,
            overflow="fold" if column.fold else "ellipsis",
            min_width=width or None,
        )
    if heading and any(column.heading for column in table.columns):
        made.add_row(*(_Text(column.heading, style=LABEL) for column in table.columns))
    for row in rows:
        made.add_row(*map(_text, row))
    return made


def _print_finding(console: _Console, group: FindingGroup) -> None:
    """Print severity, sentence, id for ``explain`` and place, then the evidence."""
    one = group.shown
    where = where_words(one.where)
    place = f"{one.id}; {where}" if where else one.id
    place += f" and {group.more} more" if group.more else ""
    head = f"{group.change} {one.severity.value}: ".lstrip()
    line = styled(head, (f"{one.sentence} [{place}]", PLAIN), style=SEVERITIES[one.severity])
    console.print_line(_text(line))
    if group.evidence:
        for key, value in one.evidence:
            if value:
                console.print_line(_Text(f"    {key}: {value}", style=LABEL))
