# SPDX-License-Identifier: GPL-2.0-or-later
"""An audit: the findings, the worst first, then the outcome of each rule."""

from __future__ import annotations

from pageproof.model import Severity
from pageproof.model.audit import AuditReport, RuleOutcome, Ruling
from pageproof.render import phrases, styles
from pageproof.render.draw.common import FOLDED, columns, draw_head
from pageproof.render.findings import FindingGroup
from pageproof.render.sheet import Cell, Sheet, styled
from pageproof.render.styles import LABEL
from pageproof.render.where import where_words


def draw_audit(report: AuditReport, sheet: Sheet) -> None:
    """Draw the findings, the outcome of each rule and the sum."""
    draw_head(report, sheet)
    sheet.gap()
    for finding in report.findings:
        sheet.finding(FindingGroup(finding, 0, (finding,)))
    for outcome in report.outcomes:
        shown = sum(finding.id == outcome.rule for finding in report.findings)
        if outcome.findings > shown:
            sheet.line(f"and {outcome.findings - shown} more of {outcome.rule}", style=LABEL)
    for finding in report.accepted:
        sheet.line(f"accepted: [{finding.id}; {where_words(finding.where)}]", style=LABEL)
    if report.findings or report.accepted:
        sheet.gap()
    sheet.table(columns(3, FOLDED), map(_row, report.outcomes))
    sheet.gap()
    sheet.line(_sum(report), style=styles.of_exit(report.exit_code))


def _row(one: RuleOutcome) -> tuple[Cell, ...]:
    checked = phrases.plural(one.checked, one.unit.removesuffix("s"))
    return (
        styled(ruling(one), style=_style(one)),
        one.rule,
        styled(checked, style=LABEL),
        styled(one.reason, style=LABEL),
    )


def ruling(one: RuleOutcome) -> str:
    """Return the outcome of a rule: sound, unknown, or its number of findings."""
    if one.ruling is not Ruling.FINDINGS:
        return one.ruling.value
    return phrases.plural(one.findings, one.severity.value)


def _style(one: RuleOutcome) -> str:
    if one.ruling is Ruling.FINDINGS:
        return styles.SEVERITIES[one.severity]
    return "green" if one.ruling is Ruling.SOUND else styles.DOUBT


def _sum(report: AuditReport) -> str:
    rules = phrases.plural(len(report.outcomes), "rule")
    parts = [f"{rules} in {report.seconds:.1f} s"]
    for severity in Severity:
        count = sum(one.findings for one in report.outcomes if one.severity is severity)
        if count:
            parts.append(phrases.plural(count, severity.value))
    unknown = sum(bool(one.reason) for one in report.outcomes)
    if unknown:
        parts.append(f"{unknown} undecided")
    if report.accepted:
        parts.append(f"{len(report.accepted)} accepted")
    if len(parts) == 1:
        parts.append("nothing is wrong")
    if report.attempts > 1:
        parts.append(f"{report.attempts} attempts")
    return ": ".join((parts[0], ", ".join(parts[1:])))
