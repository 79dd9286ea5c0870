# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check of an audit is, and what several have in common."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pageproof.model import Finding, Range
from pageproof.model.auditfacts import AuditFacts, Need, Span
from pageproof.model.rule import Rule

#: So many findings of a rule are given; the others are counted.
MOST_FINDINGS: Final = 50
PAGE_BYTES: Final = 4096
PAGE_SHIFT: Final = 12
TOP: Final = 1 << 64


@dataclass(frozen=True)
class Judged:
    """What a check says.

    Attributes:
        checked: how many of the check's units it looked at.
        findings: the first ones.
        more: how many more there are.
        undecided: why it, or a part of it, could not be judged; "" if all was.
    """

    checked: int
    findings: tuple[Finding, ...] = ()
    more: int = 0
    undecided: str = ""


@dataclass(frozen=True)
class Check:
    """One small function with its rule.

    Attributes:
        looks_for: what is wrong where it fires, in a few words.
        unit: what it counts, in the plural.
        needs: without these facts it can't be judged.
        judge: looks at the facts, of which those are there.
        may_be_empty: nothing to look at is no doubt: what it is about need not exist.
    """

    rule: Rule
    looks_for: str
    unit: str
    needs: tuple[Need, ...]
    judge: Callable[[AuditFacts], Judged]
    may_be_empty: bool = False


def judged(checked: int, findings: Iterable[Finding], undecided: str = "") -> Judged:
    """Count findings, and keep the first ones."""
    kept: list[Finding] = []
    more = 0
    for finding in findings:
        if len(kept) < MOST_FINDINGS:
            kept.append(finding)
        else:
            more += 1
    return Judged(checked, tuple(kept), more, undecided)


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


def place(span: Span) -> str:
    """Kernel addresses, as findings and baselines name them."""
    return f"{span.start:016x}-{span.end - 1:016x}"


def bytes_shown(span: Span) -> tuple[tuple[str, str], ...]:
    """How much it is, as evidence."""
    return (("pages", str((span.end - span.start) // PAGE_BYTES)),)
