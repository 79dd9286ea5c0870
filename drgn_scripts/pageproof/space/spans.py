# SPDX-License-Identifier: GPL-2.0-or-later
"""Arithmetic of ranges of page tables and of spans of addresses."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from pageproof.model import Range
from pageproof.model.auditfacts import Span
from pageproof.space.units import PAGE_BYTES


def is_mapped(one: Range) -> bool:
    """Whether an access to it gets through to a frame."""
    return one.frame is not None and one.permissions is not None and one.permissions.access


def pages_of(one: Range) -> int:
    """How many pages of 4 KiB it has."""
    return (one.last + 1 - one.start) // PAGE_BYTES


def within(ranges: Sequence[Range], start: int, end: int) -> Iterator[Range]:
    """The parts of ranges, which are in order of address, from start to end, exclusive."""
    at = max(bisect_right(ranges, start, key=lambda one: one.start) - 1, 0)
    for one in ranges[at:]:
        if one.start >= end:
            return
        if one.last >= start:
            yield cut(one, max(one.start, start), min(one.last, end - 1))


def cut(one: Range, start: int, last: int) -> Range:
    """A part of a range."""
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
    """Spans in order of address, those that adjoin as one."""
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
    """What of a span no other covers; the others are in order and do not overlap."""
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
    """Its addresses."""
    return Span(one.start, one.last + 1)
