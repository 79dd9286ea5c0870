# SPDX-License-Identifier: GPL-2.0-or-later
"""An audit as JUnit XML: one test case a rule."""

from __future__ import annotations

from xml.etree import ElementTree

from pageproof.model import Severity
from pageproof.model.audit import AuditReport, RuleOutcome


def audit_to_junit(report: AuditReport) -> str:
    """XML text with a newline at its end.

    Findings of a rule of severity error are its failure; what could not be
    decided is an error, because a skipped test would look like a good one.
    """
    suite = ElementTree.Element(
        "testsuite",
        name="pageproof audit",
        hostname=report.target.where,
        time=f"{report.seconds:.3f}",
    )
    failures = errors = 0
    for outcome in report.outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname="pageproof.audit", name=outcome.rule
        )
        said = _said(report, outcome)
        if outcome.findings and outcome.severity is Severity.ERROR:
            failures += 1
            message = f"{outcome.findings} of {outcome.looks_for}"
            ElementTree.SubElement(case, "failure", message=message).text = said
        elif outcome.reason:
            errors += 1
            ElementTree.SubElement(case, "error", message=outcome.reason).text = outcome.reason
        elif said:
            ElementTree.SubElement(case, "system-out").text = said
    suite.set("tests", str(len(report.outcomes)))
    suite.set("failures", str(failures))
    suite.set("errors", str(errors))
    ElementTree.indent(suite)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        + ElementTree.tostring(suite, encoding="unicode")
        + "\n"
    )


def _said(report: AuditReport, outcome: RuleOutcome) -> str:
    mine = [one for one in report.findings if one.id == outcome.rule]
    lines = [f"{one.where}: {one.sentence}" for one in mine]
    known = [one for one in report.accepted if one.id == outcome.rule]
    lines += [f"accepted: {one.where}" for one in known]
    return "\n".join(lines)
