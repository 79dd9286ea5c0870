# SPDX-License-Identifier: GPL-2.0-or-later
"""An audit as text: the findings, worst first, then what became of each rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.table import Table

from pageproof.model import Severity
from pageproof.model.audit import AuditReport, RuleOutcome, Ruling
from pageproof.model.rule import Rule
from pageproof.render import PLAIN_WIDTH, phrases, words
from pageproof.render.findings import print_finding
from pageproof.render.sheet import LABEL, Sheet, Text, print_facts, target_facts

_STYLES: Final = {Ruling.SOUND: "green", Ruling.FINDINGS: "bold red", Ruling.UNKNOWN: "bold yellow"}


def audit_to_text(report: AuditReport, *, color: bool = False, width: int = PLAIN_WIDTH) -> str:
    """Text with a newline at its end."""
    sheet = Sheet(color=color, width=width)
    head = target_facts(report.target, report.paging)
    head += [("note", note) for note in report.target.notes]
    print_facts(sheet.console, head)
    sheet.console.print()
    for finding in report.findings:
        print_finding(sheet.console, finding)
    _print_more(sheet, report)
    for finding in report.accepted:
        sheet.console.print(Text(f"accepted: [{finding.id}; {finding.where}]", style=LABEL))
    if report.findings or report.accepted:
        sheet.console.print()
    _print_outcomes(sheet, report.outcomes)
    sheet.console.print()
    style = {0: "bold green", 1: "bold red"}.get(report.exit_code, "bold yellow")
    sheet.console.print(Text(_sum(report), style=style))
    return sheet.text()


def _print_more(sheet: Sheet, report: AuditReport) -> None:
    for outcome in report.outcomes:
        told = sum(finding.id == outcome.rule for finding in report.findings)
        if outcome.findings > told:
            text = f"and {outcome.findings - told} more of {outcome.rule}"
            sheet.console.print(Text(text, style=LABEL))


def _print_outcomes(sheet: Sheet, outcomes: Sequence[RuleOutcome]) -> None:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in outcomes:
        table.add_row(
            Text(ruling(one), style=_style(one)),
            one.rule,
            Text(phrases.plural(one.checked, one.unit.removesuffix("s")), style=LABEL),
            Text(one.reason, style=LABEL),
        )
    sheet.console.print(table)


def ruling(one: RuleOutcome) -> str:
    """What became of a rule: how many findings, or none, or unknown."""
    if one.ruling is not Ruling.FINDINGS:
        return one.ruling.value
    return phrases.plural(one.findings, one.severity.value)


def _style(one: RuleOutcome) -> str:
    if one.ruling is Ruling.FINDINGS:
        return words.SEVERITIES[one.severity]
    return _STYLES[one.ruling]


def _sum(report: AuditReport) -> str:
    rules = phrases.plural(len(report.outcomes), "rule")
    parts = [f"{rules} in {report.seconds:.1f} s"]
    for severity in Severity:
        count = sum(one.findings for one in report.outcomes if one.severity is severity)
        if count:
            parts.append(phrases.plural(count, severity.value))
    unknown = sum(bool(one.reason) for one in report.outcomes)
    if unknown:
        parts.append(f"{unknown} not decided")
    if report.accepted:
        parts.append(f"{len(report.accepted)} accepted")
    if len(parts) == 1:
        parts.append("nothing is wrong")
    if report.attempts > 1:
        parts.append(f"looked {report.attempts} times")
    return ": ".join((parts[0], ", ".join(parts[1:])))


#: Of each rule: the rule, what it looks for, and the facts that it needs.
Listed = tuple[Rule, str, Sequence[str]]


def rules_to_text(rules: Iterable[Listed], *, color: bool = False, width: int = PLAIN_WIDTH) -> str:
    """The list of rules, with what each needs."""
    sheet = Sheet(color=color, width=width)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for rule, looks_for, needs in rules:
        severity = Text(rule.severity.value, style=words.SEVERITIES[rule.severity])
        table.add_row(rule.id, severity, f"{looks_for}; needs {', '.join(needs)}")
    sheet.console.print(table)
    return sheet.text()
