# SPDX-License-Identifier: GPL-2.0-or-later
"""Arithmetic of ranges of page tables and of spans of addresses."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from pageproof.model import Range
from pageproof.model.auditfacts import Span
from pageproof.space.units import PAGE_BYTES


def is_mapped(one: Range) -> bool:
    """Return whether an access to a range reaches a frame."""
    return one.frame is not None and one.permissions is not None and one.permissions.access


def pages_of(one: Range) -> int:
    """Return the number of 4 KiB pages in a range."""
    return (one.last + 1 - one.start) // PAGE_BYTES


def within(ranges: Sequence[Range], start: int, end: int) -> Iterator[Range]:
    """Yield the parts of ranges from start to end, exclusive; ranges are in order of address."""
    at = max(bisect_right(ranges, start, key=lambda one: one.start) - 1, 0)
    for one in ranges[at:]:
        if one.start >= end:
            return
        if one.last >= start:
            yield cut(one, max(one.start, start), min(one.last, end - 1))


def cut(one: Range, start: int, last: int) -> Range:
    """Return a part of a range; ``last`` is inclusive."""
    if (start, last) == (one.start, one.last):
        return one
    frame = None if one.frame is None else one.frame + start - one.start
    return Range(
        start,
        last,
        one.level,
        one.outcome,
        frame,
        one.permissions,
        one.shared_with,
        one.detail,
        one.memory_type,
    )


def joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield spans in order of address; adjoining spans are joined."""
    before: Span | None = None
    for span in spans:
        if before is not None and before.end == span.start:
            before = Span(before.start, span.end)
            continue
        if before is not None:
            yield before
        before = span
    if before is not None:
        yield before


def without(span: Span, others: Sequence[Span]) -> Iterator[Span]:
    """Yield the parts of a span that no other covers; the others are in order, without overlap."""
    at = span.start
    first = max(bisect_right(others, span.start, key=lambda one: one.start) - 1, 0)
    for other in others[first:]:
        if other.start >= span.end:
            break
        if other.start > at:
            yield Span(at, other.start)
        at = max(at, other.end)
    if at < span.end:
        yield Span(at, span.end)


def span_of(one: Range) -> Span:
    """Return the addresses of a range."""
    return Span(one.start, one.last + 1)
