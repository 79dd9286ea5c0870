# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings that are gone or new, of any command's reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator

from pageproof.model import Finding, Severity
from pageproof.model.diff import Change, FindingChange


def finding_changes(
    old: Iterable[Finding], new: Iterable[Finding], *, by_place: bool = True
) -> tuple[FindingChange, ...]:
    """What only one of two reports has, or has more often; the worst first, new before gone.

    Args:
        old: findings of the older report.
        new: those of the newer one.
        by_place: findings of one id are another where they are at another place; else they are
            not, and their number does not count.
    """

    def key(finding: Finding) -> Hashable:
        where = finding.where if by_place else ""
        return finding.id, finding.severity, where

    before, after = list(old), list(new)
    changes = [
        *_more(Change.NEW, after, before, key, by_place),
        *_more(Change.GONE, before, after, key, by_place),
    ]
    order = [Severity.ERROR, Severity.WARNING, Severity.NOTE]
    changes.sort(
        key=lambda one: (
            order.index(one.finding.severity),
            one.change is Change.GONE,
            one.finding.id,
            one.finding.where,
            one.finding.sentence,
        )
    )
    return tuple(changes)


def _more(
    change: Change,
    here: list[Finding],
    there: list[Finding],
    key: Callable[[Finding], Hashable],
    by_place: bool,
) -> Iterator[FindingChange]:
    """What is here, and not or less often there; told by the first one in their order."""
    ours, theirs = Counter(map(key, here)), Counter(map(key, there))
    examples: dict[Hashable, Finding] = {}
    for finding in sorted(here, key=lambda one: (one.where, one.sentence, one.evidence)):
        examples.setdefault(key(finding), finding)
    for name, finding in examples.items():
        times = ours[name] - theirs[name] if by_place else ours[name] * (not theirs[name])
        if times > 0:
            yield FindingChange(change, finding, times)
