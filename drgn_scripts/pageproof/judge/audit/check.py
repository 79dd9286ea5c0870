# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check of an audit is, and what several have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from pageproof.model import Finding
from pageproof.model.auditfacts import AuditFacts, Need, Span
from pageproof.model.rule import Rule
from pageproof.space.units import PAGE_BYTES

#: So many findings of a rule are given; the others are counted.
MOST_FINDINGS: Final = 50


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
    """Count findings, those of adjoining places as one, and keep the first ones."""
    kept: list[Finding] = []
    more = 0
    for finding in adjoining(findings):
        if len(kept) < MOST_FINDINGS:
            kept.append(finding)
        else:
            more += 1
    return Judged(checked, tuple(kept), more, undecided)


#: What a range of addresses or frames looks like at the end of a finding's place; what is before
#: it is the name of a process, which may be anything.
_RANGE: Final = re.compile(r"(.*?)([0-9a-f]+)-((?:0x)?)([0-9a-f]+)", re.DOTALL)


@dataclass(frozen=True)
class _Where:
    """A finding's place, taken apart: whose, first and last."""

    head: str
    first: str
    last: str

    def goes_on(self, other: _Where) -> bool:
        """Whether another place begins right after this one."""
        return self.head == other.head and _number(self.last) + 1 == _number(other.first)

    def common(self, other: _Where) -> _Where | None:
        """What both have; None for nothing."""
        first = max(self.first, other.first, key=_number)
        last = min(self.last, other.last, key=_number)
        if self.head != other.head or _number(first) > _number(last):
            return None
        return _Where(self.head, first, last)

    def text(self) -> str:
        """Format the range for a finding."""
        return f"{self.head}{self.first}-{'0x' if self.head.endswith('0x') else ''}{self.last}"


def _number(text: str) -> int:
    return int(text, 16)


def _where(text: str) -> _Where | None:
    found = _RANGE.fullmatch(text)
    if found is None:
        return None
    head, first, prefix, last = found.groups()
    # Frames are counted by one, and written 0x7-0x9.
    return _Where(head, first, last) if head.endswith("0x") == bool(prefix) else None


def adjoining(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings in order of place; those that say the same of adjoining pages as one with a range.

    The evidence is that of the first page, with the number of pages.
    """
    before: Finding | None = None
    at: _Where | None = None
    pages = 0
    for one in findings:
        here = _where(one.where)
        if (
            before is not None
            and at is not None
            and here is not None
            and (before.id, before.severity, before.sentence)
            == (one.id, one.severity, one.sentence)
            and at.goes_on(here)
        ):
            at = _Where(at.head, at.first, here.last)
            pages += _pages(one)
            continue
        if before is not None:
            yield _of_range(before, at, pages)
        before, at, pages = one, here, _pages(one)
    if before is not None:
        yield _of_range(before, at, pages)


def _pages(one: Finding) -> int:
    return int(dict(one.evidence).get("pages", 1))


def _of_range(first: Finding, at: _Where | None, pages: int) -> Finding:
    if at is None or pages == _pages(first):
        return first
    others = tuple(pair for pair in first.evidence if pair[0] != "pages")
    note = (("evidence", "of the first page"),) if others else ()
    evidence = ("pages", str(pages)), *note, *others
    return replace(first, where=at.text(), evidence=evidence)


def seen_again(one: Finding, before: Iterable[Finding]) -> Iterator[Finding]:
    """What of a finding an earlier look has too: all, or parts of a process's range."""
    here = _where(one.where)
    for other in before:
        if other.id != one.id:
            continue
        if other.where == one.where:
            yield one
            return
        there = _where(other.where)
        both = here.common(there) if here is not None and there is not None else None
        if here is not None and both is not None and both.head:
            yield one if both == here else _part(one, here, both)


def _part(one: Finding, whole: _Where, part: _Where) -> Finding:
    """A part of a finding's range; evidence of its first page goes with that page."""
    unit = 1 if part.head.endswith("0x") else PAGE_BYTES
    pages = (_number(part.last) + 1 - _number(part.first)) // unit
    kept = one.evidence if part.first == whole.first else ()
    evidence = ("pages", str(pages)), *(pair for pair in kept if pair[0] != "pages")
    return replace(one, where=part.text(), evidence=evidence)


def place(span: Span) -> str:
    """Kernel addresses, as findings and baselines name them."""
    return f"{span.start:016x}-{span.end - 1:016x}"


def bytes_shown(span: Span) -> tuple[tuple[str, str], ...]:
    """How much it is, as evidence."""
    return (("pages", str((span.end - span.start) // PAGE_BYTES)),)
