# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two audits as text: the rules, then the findings."""

from __future__ import annotations

from rich.table import Table

from pageproof.model import Severity
from pageproof.model.audit import RuleOutcome, Ruling
from pageproof.model.auditdiff import AuditDiffReport, AuditDiffSummary, AuditSummary, RuleChange
from pageproof.render import PLAIN_WIDTH, phrases
from pageproof.render.audittext import ruling
from pageproof.render.difftext import print_finding_changes, print_sides, print_sum
from pageproof.render.sheet import LABEL, Sheet, Text


def audit_diff_to_text(
    report: AuditDiffReport, *, color: bool = False, width: int = PLAIN_WIDTH
) -> str:
    """Text with a newline at its end."""
    sheet = Sheet(color=color, width=width)
    console = sheet.console
    print_sides(console, report, _counts(report.old.summary), _counts(report.new.summary))
    if report.rules:
        table = Table.grid(padding=(0, 2))
        for _ in range(2):
            table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for rule in report.rules:
            table.add_row(*_rule(rule))
        console.print()
        console.print(table)
    print_finding_changes(console, report)
    nothing = "" if report.summary.compared else "there was no rule to compare"
    print_sum(console, report, _worse(report.summary), nothing)
    return sheet.text()


def _counts(summary: AuditSummary) -> str:
    numbers = (summary.errors, summary.warnings, summary.notes)
    parts = [
        phrases.plural(count, severity.value)
        for count, severity in zip(numbers, Severity, strict=True)
        if count
    ]
    if summary.undecided:
        parts.append(f"{summary.undecided} not decided")
    if summary.accepted:
        parts.append(f"{summary.accepted} accepted")
    return f"{phrases.plural(summary.rules, 'rule')}: {', '.join(parts) or 'nothing is wrong'}"


def _rule(one: RuleChange) -> tuple[Text, str, Text]:
    """What it is and was, its name, and why it is or was not decided."""
    undecided = one.new is not None and bool(one.new.reason)
    what = Text(_state(one.new), style="bold yellow" if undecided else "")
    what.append(f", was {_state(one.old)}" if one.old else ", new", style="default")
    reasons = (side.reason for side in (one.new, one.old) if side and side.reason)
    return what, one.rule, Text(next(reasons, ""), style=LABEL)


def _state(one: RuleOutcome | None) -> str:
    if one is None:
        return "not asked for"
    partly = one.reason and one.ruling is Ruling.FINDINGS
    return f"{ruling(one)}, else unknown" if partly else ruling(one)


def _worse(summary: AuditDiffSummary) -> str:
    counts = (
        (summary.undecided, f"{phrases.plural(summary.undecided, 'rule')} undecided"),
        (summary.new_errors, phrases.plural(summary.new_errors, "error")),
    )
    return ", ".join(text for count, text in counts if count)
