# SPDX-License-Identifier: GPL-2.0-or-later
"""The type of an audit's checks, and helpers that several checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from pageproof.model import Finding
from pageproof.model.auditfacts import AuditFacts, Need, Span
from pageproof.model.rule import Rule, Shown
from pageproof.model.where import Where, WhereKind
from pageproof.space.units import PAGE_BYTES

#: Limit of findings that a report shows for each rule. The others are only counted.
MOST_FINDINGS: Final = 50


@dataclass(frozen=True)
class Judged:
    """The result of a check.

    Attributes:
        checked: number of the check's units that it examined.
        findings: the first ones.
        more: number of findings beyond these.
        undecided: why all or part of it could not be judged; "" if all was judged.
    """

    checked: int
    findings: tuple[Finding, ...] = ()
    more: int = 0
    undecided: str = ""


@dataclass(frozen=True)
class Check:
    """A rule and the function that checks it.

    Attributes:
        looks_for: what it reports, in a few words.
        unit: what ``checked`` counts, in the plural.
        needs: facts without which it cannot be judged.
        judge: the function; it is called only if all needed facts are there.
        may_be_empty: having nothing to examine is sound, not undecided.
    """

    rule: Rule
    looks_for: str
    unit: str
    needs: tuple[Need, ...]
    judge: Callable[[AuditFacts], Judged]
    may_be_empty: bool = False


def judged(checked: int, findings: Iterable[Finding], undecided: str = "") -> Judged:
    """Join findings of adjoining places, keep the first ones and count the others."""
    kept: list[Finding] = []
    more = 0
    for finding in adjoining(findings):
        if len(kept) < MOST_FINDINGS:
            kept.append(finding)
        else:
            more += 1
    return Judged(checked, tuple(kept), more, undecided)


def addresses(span: Span) -> Where:
    """Return the place of kernel addresses."""
    return Where(WhereKind.KERNEL, address=span.start, last=span.end - 1)


@dataclass(frozen=True)
class _Range:
    """The range of a place: of frames, or of addresses.

    Attributes:
        rest: the place without its range; ranges of one address space have it in common.
        first, last: PFNs or addresses; both inclusive.
    """

    rest: Where
    first: int
    last: int

    @classmethod
    def of(cls, where: Where) -> _Range | None:
        """Return the range of a place; None if the place is not a range."""
        if where.kind is WhereKind.FRAMES:
            first, last = where.frame, where.last_frame
            rest = replace(where, frame=0, last_frame=0)
        else:
            first, last = where.address, where.last
            rest = replace(where, address=0, last=0)
        return None if first is None or last is None else cls(rest, first, last)

    @property
    def where(self) -> Where:
        """The place that has this range."""
        if self.rest.kind is WhereKind.FRAMES:
            return replace(self.rest, frame=self.first, last_frame=self.last)
        return replace(self.rest, address=self.first, last=self.last)

    @property
    def pages(self) -> int:
        """How many pages it has."""
        units = self.last + 1 - self.first
        return units if self.rest.kind is WhereKind.FRAMES else units // PAGE_BYTES

    def goes_on(self, other: _Range) -> bool:
        """Whether another range begins right after this one."""
        return self.rest == other.rest and self.last + 1 == other.first

    def common(self, other: _Range) -> _Range | None:
        """Return what both have; None for nothing."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return _Range(self.rest, first, last) if self.rest == other.rest and first <= last else None


def adjoining(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings in order of place; those that report the same of adjoining pages as one.

    The evidence is that of the first page, with the number of pages.
    """
    before: Finding | None = None
    at: _Range | None = None
    pages = 0
    for one in findings:
        here = _Range.of(one.where)
        if (
            before is not None
            and at is not None
            and here is not None
            and (before.id, before.severity, before.sentence)
            == (one.id, one.severity, one.sentence)
            and at.goes_on(here)
        ):
            at = replace(at, last=here.last)
            pages += _pages(one)
            continue
        if before is not None:
            yield _of_range(before, at, pages)
        before, at, pages = one, here, _pages(one)
    if before is not None:
        yield _of_range(before, at, pages)


def _pages(one: Finding) -> int:
    return int(dict(one.evidence).get("pages", 1))


def _of_range(first: Finding, at: _Range | None, pages: int) -> Finding:
    if at is None or pages == _pages(first):
        return first
    others = tuple(pair for pair in first.evidence if pair[0] != "pages")
    note = (("evidence", "of the first page"),) if others else ()
    evidence = ("pages", str(pages)), *note, *others
    return replace(first, where=at.where, evidence=evidence)


def seen_again(one: Finding, before: Iterable[Finding]) -> Iterator[Finding]:
    """Yield what an earlier look has of a finding: all of it, or parts of a process's range."""
    here = _Range.of(one.where)
    for other in before:
        if other.id != one.id:
            continue
        if other.where == one.where:
            yield one
            return
        there = _Range.of(other.where)
        if here is None or there is None or one.where.kind is WhereKind.KERNEL:
            continue
        both = here.common(there)
        if both is not None:
            yield one if both == here else _part(one, here, both)


def _part(one: Finding, whole: _Range, part: _Range) -> Finding:
    """A part of a finding's range; evidence of its first page goes with that page."""
    kept = one.evidence if part.first == whole.first else ()
    evidence = ("pages", str(part.pages)), *(pair for pair in kept if pair[0] != "pages")
    return replace(one, where=part.where, evidence=evidence)


def bytes_shown(span: Span) -> Shown:
    """Return how much it is, as evidence."""
    return (("pages", str((span.end - span.start) // PAGE_BYTES)),)
