# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare two reports of ``audit``: findings by rule and place, as in a baseline.

A finding is gone only if the newer report decided its rule. Findings that a report's baseline
accepts count as present in that report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from pageproof import __version__
from pageproof.errors import Exit
from pageproof.judge.diff.boot import boot_differences
from pageproof.judge.diff.findings import finding_changes, new_errors
from pageproof.model import Finding, Severity
from pageproof.model.audit import AuditReport
from pageproof.model.auditdiff import (
    AUDIT_DIFF_SCHEMA,
    AuditDiffReport,
    AuditDiffSummary,
    AuditSummary,
    ComparedAudit,
    RuleChange,
)
from pageproof.model.diff import Change, Difference, FindingChange
from pageproof.model.where import NOWHERE


def diff_audits(
    old: AuditReport, new: AuditReport, old_path: str, new_path: str
) -> AuditDiffReport:
    """Compare two reports.

    Args:
        old: the older one.
        new: the newer one.
        old_path: where it was read.
        new_path: where it was read.
    """
    boot = tuple(boot_differences(old, new))
    cut = _cut(old) | _cut(new)
    changes = finding_changes(
        _found(old, cut) + _accepted(old, cut),
        _found(new, cut),
        _accepted(new, cut),
        by_place=not boot,
    )
    decided = {one.rule for one in new.outcomes if not one.reason}
    findings = [one for one in changes if one.change is Change.NEW or one.finding.id in decided]
    lost = {one.finding.id for one in changes if one.change is Change.GONE} - decided
    rules = sorted(_rule_changes(old, new, lost), key=_rule_order)
    return AuditDiffReport(
        schema=AUDIT_DIFF_SCHEMA,
        version=__version__,
        old=_compared(old, old_path),
        new=_compared(new, new_path),
        boot=boot,
        rules=tuple(rules),
        findings=tuple(findings),
        summary=_summarize(old, new, boot, rules, findings),
    )


# Findings and how often each occurs


def _cut(report: AuditReport) -> set[str]:
    """Return the rules with more findings than the report shows."""
    shown = Counter(one.id for one in report.findings)
    return {one.rule for one in report.outcomes if one.findings > shown[one.rule]}


def _found(report: AuditReport, cut: Collection[str]) -> Counter[Finding]:
    numbers = {one.rule: one.findings for one in report.outcomes}
    return _counts(report, report.findings, numbers, cut)


def _accepted(report: AuditReport, cut: Collection[str]) -> Counter[Finding]:
    numbers = {one.rule: one.accepted for one in report.outcomes}
    return _counts(report, report.accepted, numbers, cut)


def _counts(
    report: AuditReport,
    findings: Iterable[Finding],
    numbers: Mapping[str, int],
    cut: Collection[str],
) -> Counter[Finding]:
    """Count findings by place; a rule that was cut has one finding without a place."""
    shown = (*report.findings, *report.accepted)
    # The first finding is the example for all.
    in_order = sorted(shown, key=lambda one: (one.where.order, one.sentence), reverse=True)
    examples = {one.id: replace(one, where=NOWHERE, evidence=()) for one in in_order}
    placed = Counter(one for one in findings if one.id not in cut)
    return placed + Counter(
        {examples[rule]: number for rule, number in numbers.items() if rule in cut and number}
    )


# Rules


def _rule_changes(
    old: AuditReport, new: AuditReport, lost: Collection[str]
) -> Iterator[RuleChange]:
    before = {one.rule: one for one in old.outcomes}
    after = {one.rule: one for one in new.outcomes}
    for rule in before.keys() | after.keys():
        was, now = before.get(rule), after.get(rule)
        if not was or not now or bool(was.reason) != bool(now.reason) or rule in lost:
            yield RuleChange(rule, was, now)


def _is_undecided_now(one: RuleChange) -> bool:
    return one.old is not None and one.new is not None and bool(one.new.reason)


def _rule_order(one: RuleChange) -> tuple[object, ...]:
    return not _is_undecided_now(one), one.new is None, one.old is None, one.rule


# Numbers


def _compared(report: AuditReport, path: str) -> ComparedAudit:
    def count(severity: Severity) -> int:
        return sum(one.findings for one in report.outcomes if one.severity is severity)

    summary = AuditSummary(
        rules=len(report.outcomes),
        undecided=sum(bool(one.reason) for one in report.outcomes),
        errors=count(Severity.ERROR),
        warnings=count(Severity.WARNING),
        notes=count(Severity.NOTE),
        accepted=sum(one.accepted for one in report.outcomes),
        exit_code=report.exit_code,
    )
    return ComparedAudit(path, report.version, report.target, summary)


def _summarize(
    old: AuditReport,
    new: AuditReport,
    boot: Collection[Difference],
    rules: Collection[RuleChange],
    findings: Collection[FindingChange],
) -> AuditDiffSummary:
    """Count and set the exit code, as for reports of verify."""
    compared = {one.rule for one in old.outcomes} & {one.rule for one in new.outcomes}
    undecided = sum(map(_is_undecided_now, rules))
    errors = new_errors(findings)
    if errors:
        code = Exit.WRONG
    elif undecided or boot or not compared:
        code = Exit.UNDECIDED
    else:
        code = Exit.SOUND
    return AuditDiffSummary(
        compared=len(compared),
        undecided=undecided,
        new_errors=errors,
        changes=len(rules) + len(findings),
        exit_code=int(code),
    )
