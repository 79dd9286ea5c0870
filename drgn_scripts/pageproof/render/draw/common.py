# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts that several reports have: the head, the title of a region, columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from pageproof.model import MappingFacts, PagingFacts, TargetFacts
from pageproof.render import phrases
from pageproof.render.sheet import Cell, Column, Fact, Part, Sheet
from pageproof.render.styles import LABEL, TITLE
from pageproof.space.units import PAGE_BYTES

FOLDED: Final = Column(fold=True)

#: Mappings of a region or a frame that are listed one by one; more are summed up.
MANY: Final = 20
#: Odd mappings that are listed below a sum, the worst first.
ODD: Final = 100


class _Headed(Protocol):
    """A report about a target."""

    @property
    def target(self) -> TargetFacts: ...
    @property
    def paging(self) -> PagingFacts: ...


class _Region(Protocol):
    """A region, in any report."""

    @property
    def kind(self) -> str: ...
    @property
    def part(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def owner(self) -> int: ...
    @property
    def owner_type(self) -> str: ...
    @property
    def pages(self) -> int: ...


def draw_head(
    report: _Headed, sheet: Sheet, more: Iterable[Fact] = (), *, first: Iterable[Fact] = ()
) -> None:
    """Draw what a report is about: the target, its notes, then more facts.

    Args:
        report: the report.
        sheet: what to draw on.
        more: facts below the notes.
        first: facts above the notes.
    """
    paging = report.paging
    kernel = f"Linux {report.target.release}, {paging.levels}-level page tables"
    sheet.facts(
        [
            ("target", phrases.target(report.target)),
            ("kernel", kernel + (", PTI" if paging.pti else "")),
            *first,
            *(("note", note) for note in report.target.notes),
            *more,
        ]
    )


def region_title(region: _Region) -> tuple[Part, ...]:
    """Return the parts of a line that names a region."""
    owner = f"{region.owner_type} {phrases.address(region.owner)}"
    size = phrases.size(region.pages * PAGE_BYTES)
    kind = phrases.region_kind(region.kind, region.part)
    return (kind, TITLE), f"  {region.name}, {size}", (f"  {owner}", LABEL)


def is_summed_up(count: int, sheet: Sheet) -> bool:
    """Return whether this number of mappings is summed up instead of listed."""
    return count > MANY and not sheet.verbose


def many(mappings: Iterable[MappingFacts]) -> tuple[str, str]:
    """Return the number of processes and of mappings, for a row that sums them up."""
    pids = [one.pid for one in mappings]
    processes = phrases.processes(len(set(pids)))
    return processes, f"{phrases.plural(len(pids), 'mapping')}, -v lists each"


def draw_odd(rows: Iterable[Sequence[Cell]], count: int, sheet: Sheet) -> None:
    """Draw the odd mappings below the row that sums up all.

    Args:
        rows: the first :data:`ODD` of them.
        count: number of all odd ones.
        sheet: what to draw on.
    """
    sheet.table(columns(4), rows)
    if count > ODD:
        sheet.line(f"  and {count - ODD} more like these, -v lists each", style=LABEL)


def columns(count: int, *last: Column) -> tuple[Column, ...]:
    """Return columns that are never folded, and the last ones."""
    return (*(Column() for _ in range(count)), *last)
