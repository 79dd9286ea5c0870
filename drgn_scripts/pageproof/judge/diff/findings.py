# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings that are gone or new, for reports of any command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from pageproof.model import Finding, Severity
from pageproof.model.diff import Change, FindingChange
from pageproof.model.where import NOWHERE, Where

#: Findings and how often each occurs.
Counts = Mapping[Finding, int]
_NONE: Final[Counts] = {}
_Key = tuple[str, Severity, Where]


def finding_changes(
    old: Counts, new: Counts, accepted: Counts = _NONE, *, by_place: bool
) -> tuple[FindingChange, ...]:
    """Return findings that one report has more often than the other: worst first, new before gone.

    Args:
        old: findings of the older report.
        new: those of the newer one.
        accepted: further ones of the newer report; they are never reported as new.
        by_place: findings of one id differ if their places differ; otherwise neither the places
            nor the number of findings matter.
    """
    told, before = _tally(new, by_place), _tally(old, by_place)
    after = told + _tally(accepted, by_place)
    came = {key: min(times, told[key]) for key, times in _more(after, before, by_place).items()}
    changes = [
        *_changes(Change.NEW, new, came, by_place),
        *_changes(Change.GONE, old, _more(before, after, by_place), by_place),
    ]
    order = [Severity.ERROR, Severity.WARNING, Severity.NOTE]
    changes.sort(
        key=lambda one: (
            order.index(one.finding.severity),
            one.change is Change.GONE,
            one.finding.id,
            one.finding.where.order,
            one.finding.sentence,
        )
    )
    return tuple(changes)


def new_errors(changes: Iterable[FindingChange]) -> int:
    """Return how many new findings are errors."""
    return sum(
        one.times
        for one in changes
        if one.change is Change.NEW and one.finding.severity is Severity.ERROR
    )


def _key(finding: Finding, by_place: bool) -> _Key:
    return finding.id, finding.severity, finding.where if by_place else NOWHERE


def _tally(counts: Counts, by_place: bool) -> Counter[_Key]:
    made: Counter[_Key] = Counter()
    for finding, times in counts.items():
        made[_key(finding, by_place)] += times
    return made


def _more(here: Counter[_Key], there: Counter[_Key], by_place: bool) -> Counter[_Key]:
    """Return what is here, but not there or less often there."""
    if by_place:
        return here - there
    return Counter({key: times for key, times in here.items() if key not in there})


def _changes(
    change: Change, findings: Counts, times: Mapping[_Key, int], by_place: bool
) -> list[FindingChange]:
    """Return one change for each key, shown by its first finding."""
    examples: dict[_Key, Finding] = {}
    for finding in sorted(findings, key=lambda one: (one.where.order, one.sentence, one.evidence)):
        examples.setdefault(_key(finding, by_place), finding)
    return [
        FindingChange(change, finding, times[key])
        for key, finding in examples.items()
        if times.get(key, 0) > 0
    ]
