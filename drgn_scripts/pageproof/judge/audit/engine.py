# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the checks. Missing facts and a failing check give UNKNOWN and do not stop the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pageproof.errors import Exit
from pageproof.judge.audit.check import MOST_FINDINGS, Check, Judged, seen_again
from pageproof.model import Finding, Severity
from pageproof.model.audit import RuleOutcome, Ruling
from pageproof.model.auditfacts import AuditFacts, Need
from pageproof.model.where import Where

#: Facts that change while an image is taken.
_MOVING: Final = frozenset({Need.USERS, Need.FRAMES, Need.AREAS})
_WORST_FIRST: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(frozen=True)
class Result:
    """A check with its result."""

    check: Check
    judged: Judged


def run_check(check: Check, facts: AuditFacts) -> Result:
    """Run a check. Missing facts and a failing check give UNKNOWN, never a pass."""
    lacking = [
        f"{need} cannot be read: {facts.missing[need]}"
        for need in check.needs
        if need in facts.missing
    ]
    if lacking:
        return Result(check, Judged(0, undecided="; ".join(lacking)))
    try:
        judged = check.judge(facts)
        if not judged.checked and not judged.undecided and not check.may_be_empty:
            judged = replace(judged, undecided=f"there are no {check.unit} to look at")
        return Result(check, judged)
    except Exception as error:  # a broken rule must not lose the report
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Result(check, Judged(0, undecided=f"the rule failed: {what}"))


def needs_of(checks: Iterable[Check]) -> frozenset[Need]:
    """Return all facts that the checks need."""
    return frozenset(need for check in checks for need in check.needs)


def is_clean(result: Result) -> bool:
    """Return whether a second look is unnecessary: the check decided and found only notes."""
    serious = any(one.severity is not Severity.NOTE for one in result.judged.findings)
    return not result.judged.undecided and not serious


def standing(before: Result, after: Result) -> Result:
    """Return what two looks at a moving target have in common: what came and went is not a fault.

    Of a process's range, the pages that both looks report are kept.

    If only one look could decide, its decision counts, unless it found something that the other
    look did not report: then it is unknown whether that was there both times.
    """
    kept = tuple(
        part for one in after.judged.findings for part in seen_again(one, before.judged.findings)
    )
    more, moving = min(before.judged.more, after.judged.more), ""
    if more and len(kept) < len(after.judged.findings):
        # Only the places of the first ones are known, and some of these came and went.
        more, moving = 0, f"more than {MOST_FINDINGS} findings, which come and go"
    decided = [one for one in (after, before) if not one.judged.undecided]
    best, *_ = *decided, after
    undecided = after.judged.undecided or before.judged.undecided
    if decided and (is_clean(best) or _places(best.judged.findings) == _places(kept)):
        undecided = ""
    return Result(after.check, Judged(best.judged.checked, kept, more, undecided or moving))


def of_a_torn_image(result: Result) -> Result:
    """Return a result for memory whose pages may be of different moments.

    Tables and counters of processes change all the time, so what compares them proves nothing.
    The kernel's own tables hardly change.
    """
    serious = [one for one in result.judged.findings if one.severity is not Severity.NOTE]
    if not serious or _MOVING.isdisjoint(result.check.needs):
        return result
    rest = tuple(one for one in result.judged.findings if one.severity is Severity.NOTE)
    count = len(serious) + result.judged.more
    reasons = (
        result.judged.undecided,
        f"{count} finding{'s' if count > 1 else ''}, which a torn image may have made up",
    )
    undecided = "; ".join(reason for reason in reasons if reason)
    return Result(result.check, Judged(result.judged.checked, rest, 0, undecided))


def _places(findings: Iterable[Finding]) -> Collection[tuple[str, Where]]:
    return {(one.id, one.where) for one in findings}


def outcome_of(
    result: Result, accepted: Mapping[str, Collection[Where]]
) -> tuple[RuleOutcome, tuple[Finding, ...], tuple[Finding, ...]]:
    """Return the outcome, the new findings, and those that the baseline accepts.

    Args:
        result: the check and its result.
        accepted: accepted places, by rule id.
    """
    known = accepted.get(result.check.rule.id, ())
    old = tuple(one for one in result.judged.findings if one.where in known)
    new = tuple(one for one in result.judged.findings if one.where not in known)
    count = len(new) + result.judged.more
    ruling = Ruling.SOUND
    if count:
        ruling = Ruling.FINDINGS
    elif result.judged.undecided:
        ruling = Ruling.UNKNOWN
    outcome = RuleOutcome(
        rule=result.check.rule.id,
        severity=result.check.rule.severity,
        looks_for=result.check.looks_for,
        ruling=ruling,
        checked=result.judged.checked,
        unit=result.check.unit,
        findings=count,
        accepted=len(old),
        reason=result.judged.undecided,
    )
    return outcome, new, old


def exit_code(outcomes: Iterable[RuleOutcome]) -> Exit:
    """Return 1 for an error, 3 if something is undecided or no rule was run, else 0."""
    outcomes = tuple(outcomes)
    if any(one.findings and one.severity is Severity.ERROR for one in outcomes):
        return Exit.WRONG
    if not outcomes or any(one.reason for one in outcomes):
        return Exit.UNDECIDED
    return Exit.SOUND


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by severity: errors, warnings, notes. The order within a severity stays."""
    return tuple(sorted(findings, key=lambda one: _WORST_FIRST[one.severity]))
