# SPDX-License-Identifier: GPL-2.0-or-later
"""Group findings that are shown as one: the same sentence, or adjoining pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pageproof.model import Finding, Severity
from pageproof.model.where import WhereKind
from pageproof.space.units import PAGE_BYTES


@dataclass(frozen=True)
class FindingGroup:
    """Findings that are shown as one because they say the same.

    Attributes:
        shown: the finding to show; its place may be a range of pages.
        more: number of further places, which are only counted.
        findings: all of them.
        change: what became of them, in a comparison: "new" or "gone".
        evidence: show the evidence of ``shown`` too.
    """

    shown: Finding
    more: int
    findings: tuple[Finding, ...]
    change: str = ""
    evidence: bool = True


def grouped(findings: Iterable[Finding]) -> Iterator[FindingGroup]:
    """Group findings of the same severity, id and sentence; the worst come first."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in sorted(findings, key=lambda one: list(Severity).index(one.severity)):
        groups.setdefault((one.severity.value, one.id, one.sentence), []).append(one)
    for like in groups.values():
        first, *others = spans(like)
        yield FindingGroup(first, len(others), tuple(like))


def spans(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Merge findings of adjoining pages of a mapping into one whose place is a range.

    Args:
        findings: of one rule.

    Returns:
        The merged findings, with the evidence of their first page, and all others as they are.
    """
    first, *others = findings
    pages = 1
    for one in others:
        if _goes_on(first, one, pages):
            pages += 1
            continue
        yield _span(first, pages)
        first, pages = one, 1
    yield _span(first, pages)


def _goes_on(first: Finding, one: Finding, pages: int) -> bool:
    """Whether a finding is of the page that follows ``pages`` pages from the first one's."""
    before, here = first.where, one.where
    if before.kind is not WhereKind.PROCESS or before.address is None or before.region is not None:
        return False
    page = None if before.page is None else before.page + pages
    return here == replace(before, address=before.address + pages * PAGE_BYTES, page=page)


def _span(first: Finding, pages: int) -> Finding:
    if pages == 1:
        return first
    assert first.where.address is not None
    last = first.where.address + pages * PAGE_BYTES - 1
    return replace(first, where=replace(first.where, last=last))
