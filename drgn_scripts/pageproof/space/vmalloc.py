# SPDX-License-Identifier: GPL-2.0-or-later
"""Differences between vmalloc areas and the page tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pageproof.model import Range
from pageproof.model.auditfacts import Area, Span
from pageproof.space.spans import joined, pages_of, span_of, within, without
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT

#: Rows of the memory map in which every mapped page belongs to an area.
VMALLOC_ROWS: Final = ("vmalloc", "modules")


@dataclass(frozen=True)
class Mismatch:
    """Pages of an area that differ from its list of pages.

    Attributes:
        mapped: PFN of the first one.
        listed: PFN that the list has in its place; None behind the end of the list.
    """

    span: Span
    area: Area
    mapped: int
    listed: int | None


def unowned(
    mapped: Iterable[Range], areas: Iterable[Area], moving: Sequence[Span]
) -> Iterator[Span]:
    """Yield what is mapped outside any area.

    Args:
        mapped: mapped ranges of vmalloc space, in order of address.
        areas: in order of address.
        moving: memory that changed while it was read; it is skipped.
    """
    owned = list(joined(Span(area.start, area.end) for area in areas))
    spans = joined(part for span in joined(map(span_of, mapped)) for part in without(span, owned))
    return (part for span in spans for part in without(span, moving))


def mismatches(
    mapped: Sequence[Range], areas: Iterable[Area], moving: Sequence[Span]
) -> Iterator[Mismatch]:
    """Yield pages that areas map and that differ from their lists; see :func:`unowned`."""
    for area in areas:
        for one in _mismatches(area, mapped) if area.frames else ():
            if next(without(one.span, moving), None) == one.span:
                yield one


def _mismatches(area: Area, mapped: Sequence[Range]) -> Iterator[Mismatch]:
    beyond = area.start + len(area.frames) * PAGE_BYTES
    for one in within(mapped, area.start, area.end):
        assert one.frame is not None
        first = (one.start - area.start) >> PAGE_SHIFT
        count = pages_of(one)
        pfn = one.frame >> PAGE_SHIFT
        listed = area.frames[first : first + count]
        if listed != tuple(range(pfn, pfn + len(listed))):
            index = next(i for i, other in enumerate(listed) if other != pfn + i)
            at = one.start + index * PAGE_BYTES
            yield Mismatch(Span(at, at + PAGE_BYTES), area, pfn + index, listed[index])
        elif len(listed) < count:
            span = Span(max(one.start, beyond), one.last + 1)
            yield Mismatch(span, area, pfn + len(listed), None)


def odd_spans(mapped: Sequence[Range], areas: Sequence[Area], moving: Sequence[Span]) -> list[Span]:
    """Return where tables and areas differ, in order of address; see :func:`unowned`."""
    wrong = (one.span for one in mismatches(mapped, areas, moving))
    spans = {*unowned(mapped, areas, moving), *wrong}
    return list(joined(sorted(spans, key=lambda one: one.start)))
