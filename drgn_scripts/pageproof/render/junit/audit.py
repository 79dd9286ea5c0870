# SPDX-License-Identifier: GPL-2.0-or-later
"""An audit as JUnit XML: a test case for each rule."""

from __future__ import annotations

from pageproof.model import Severity
from pageproof.model.audit import AuditReport, RuleOutcome
from pageproof.render import phrases
from pageproof.render.junit.suites import Case, Suite, suites_to_xml
from pageproof.render.where import where_words

_NAME = "pageproof audit"


def audit_to_junit(report: AuditReport) -> str:
    """Return XML text with a newline at its end.

    Error findings make the case of their rule a failure. An undecided rule is an error, because a
    skipped test would look like a passed one.
    """
    facts = {"target": phrases.target(report.target), "kernel": report.target.release}
    suite = Suite(_NAME, facts, place="pageproof.audit")
    for outcome in report.outcomes:
        suite.cases.append(_case(outcome, _lines(report, outcome)))
    return suites_to_xml(_NAME, report.seconds, [suite])


def _case(outcome: RuleOutcome, said: list[str]) -> Case:
    case = Case(outcome.rule)
    if outcome.findings and outcome.severity is Severity.ERROR:
        case.fails("failure", f"{outcome.findings} of {outcome.looks_for}")
        case.text = said
    elif outcome.reason:
        case.fails("error", outcome.reason)
        case.text = [outcome.reason]
    else:
        case.out = said
    return case


def _lines(report: AuditReport, outcome: RuleOutcome) -> list[str]:
    found = [one for one in report.findings if one.id == outcome.rule]
    known = [one for one in report.accepted if one.id == outcome.rule]
    lines = [f"{where_words(one.where)}: {one.sentence}" for one in found]
    return [*lines, *(f"accepted: {where_words(one.where)}" for one in known)]
