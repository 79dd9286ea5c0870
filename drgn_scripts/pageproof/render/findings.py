# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings as text, the same in all commands: severity, sentence, id for ``explain``, place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from pageproof.model import Finding, Severity
from pageproof.render import words
from pageproof.render.sheet import LABEL, Console, Text
from pageproof.space.units import PAGE_BYTES

#: The place of a page, as verify names it.
_PAGE: Final = re.compile(r"(?:page (\d+), )?pid (\d+) at 0x([0-9a-f]+)")


def print_findings(console: Console, findings: Iterable[Finding], most: int | None = None) -> None:
    """Print findings with their evidence, those that say the same in one.

    Args:
        console: to print to.
        findings: the worst are printed first, else in this order.
        most: how many are printed; the others are counted.
    """
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in sorted(findings, key=lambda one: list(Severity).index(one.severity)):
        groups.setdefault((one.severity.value, one.id, one.sentence), []).append(one)
    for number, like in enumerate(groups.values()):
        if most is not None and number == most:
            console.print(Text(f"and {len(groups) - most} more findings", style=LABEL))
            return
        first, *others = spans(like)
        print_finding(console, first, len(others))


def print_finding(console: Console, finding: Finding, more: int = 0) -> None:
    """Print one, and how many places more there are."""
    console.print(finding_line(f"{finding.severity.value}: ", finding, more))
    for key, value in finding.evidence:
        if value:
            console.print(Text(f"    {key}: {value}", style=LABEL))


def finding_line(head: str, finding: Finding, more: int = 0) -> Text:
    """A finding in a line, after what the caller calls it."""
    place = f"{finding.id}; {finding.where}" if finding.where else finding.id
    place += f" and {more} more" if more else ""
    line = Text(head, style=words.SEVERITIES[finding.severity])
    line.append(f"{finding.sentence} [{place}]", style="default")
    return line


def spans(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Findings of one rule; those of adjoining pages of a mapping as one with a range.

    The evidence is that of the first page.
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
