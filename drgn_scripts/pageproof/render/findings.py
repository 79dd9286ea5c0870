# SPDX-License-Identifier: GPL-2.0-or-later
"""Which findings are shown as one: those that say the same, and those of adjoining pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pageproof.model import Finding, Severity
from pageproof.space.units import PAGE_BYTES

#: The place of a page, as verify names it.
_PAGE: Final = re.compile(r"(?:page (\d+), )?pid (\d+) at 0x([0-9a-f]+)")


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
    before, here = _PAGE.fullmatch(first.where), _PAGE.fullmatch(one.where)
    if before is None or here is None or before[2] != here[2]:
        return False
    if int(here[3], 16) != int(before[3], 16) + pages * PAGE_BYTES:
        return False
    if before[1] is None or here[1] is None:
        return before[1] is here[1]
    return int(here[1]) == int(before[1]) + pages


def _span(first: Finding, pages: int) -> Finding:
    if pages == 1:
        return first
    found = _PAGE.fullmatch(first.where)
    assert found is not None
    start = int(found[3], 16)
    numbers = "" if found[1] is None else f"pages {found[1]}-{int(found[1]) + pages - 1}, "
    where = f"{numbers}pid {found[2]} at 0x{start:x}-0x{start + pages * PAGE_BYTES - 1:x}"
    return replace(first, where=where)
