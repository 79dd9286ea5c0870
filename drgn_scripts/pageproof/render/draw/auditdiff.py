# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two audits: the rules, then the findings."""

from __future__ import annotations

from pageproof.model import Severity
from pageproof.model.audit import RuleOutcome, Ruling
from pageproof.model.auditdiff import AuditDiffReport, AuditDiffSummary, AuditSummary, RuleChange
from pageproof.render import phrases
from pageproof.render.draw.audit import ruling
from pageproof.render.draw.common import FOLDED, columns
from pageproof.render.draw.diff import draw_finding_changes, draw_sides, draw_sum
from pageproof.render.sheet import Cell, Sheet, styled
from pageproof.render.styles import DOUBT, LABEL, PLAIN


def draw_audit_diff(report: AuditDiffReport, sheet: Sheet) -> None:
    """Draw both sides, the rules and findings that changed, and the sum."""
    draw_sides(report, sheet, _counts(report.old.summary), _counts(report.new.summary))
    if report.rules:
        sheet.gap()
        sheet.table(columns(2, FOLDED), map(_rule, report.rules))
    draw_finding_changes(report, sheet)
    nothing = "" if report.summary.compared else "there is no rule to compare"
    draw_sum(report, sheet, _worse(report.summary), nothing)


def _counts(summary: AuditSummary) -> str:
    numbers = (summary.errors, summary.warnings, summary.notes)
    parts = [
        phrases.plural(count, severity.value)
        for count, severity in zip(numbers, Severity, strict=True)
        if count
    ]
    if summary.undecided:
        parts.append(f"{summary.undecided} undecided")
    if summary.accepted:
        parts.append(f"{summary.accepted} accepted")
    return f"{phrases.plural(summary.rules, 'rule')}: {', '.join(parts) or 'nothing is wrong'}"


def _rule(one: RuleChange) -> tuple[Cell, ...]:
    """Return the outcome of a rule now and before, its id, and why it is or was undecided."""
    undecided = one.new is not None and bool(one.new.reason)
    before = f", was {_state(one.old)}" if one.old else ", new"
    what = styled(_state(one.new), (before, PLAIN), style=DOUBT if undecided else "")
    reasons = (side.reason for side in (one.new, one.old) if side and side.reason)
    return what, one.rule, styled(next(reasons, ""), style=LABEL)


def _state(one: RuleOutcome | None) -> str:
    if one is None:
        return "not run"
    partly = one.reason and one.ruling is Ruling.FINDINGS
    return f"{ruling(one)}, the rest unknown" if partly else ruling(one)


def _worse(summary: AuditDiffSummary) -> str:
    counts = (
        (summary.undecided, f"{phrases.plural(summary.undecided, 'rule')} undecided"),
        (summary.new_errors, phrases.plural(summary.new_errors, "error")),
    )
    return ", ".join(text for count, text in counts if count)
