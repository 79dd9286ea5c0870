# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts that several reports have: the head, the title of a region, columns of a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from pageproof.model import PagingFacts, TargetFacts
from pageproof.render import phrases
from pageproof.render.sheet import Column, Fact, Part, Sheet
from pageproof.render.styles import LABEL, TITLE
from pageproof.space.units import PAGE_BYTES

FOLDED: Final = Column(fold=True)


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


def columns(count: int, *last: Column) -> tuple[Column, ...]:
    """Return columns that are never folded, and the last ones."""
    return (*(Column() for _ in range(count)), *last)
