# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as JUnit XML, for CI servers: one test case a page."""

from __future__ import annotations

from xml.etree import ElementTree

from pageproof.model import Report, Severity, Verdict
from pageproof.render import phrases


def report_to_junit(report: Report) -> str:
    """XML text with a newline at its end.

    DIFFERENT and error findings are failures; UNKNOWN is an error, because a
    skipped test would look like a good one. With no page there is one test
    case that is an error.
    """
    suite = ElementTree.Element(
        "testsuite",
        name="pageproof verify",
        hostname=report.target.where,
        time=f"{report.times.verify_seconds:.3f}",
    )
    failures = errors = tests = 0
    for proof in report.proofs:
        mapping = report.mappings[proof.evidence.mapping]
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"pageproof.{phrases.process(mapping)}",
            name=f"{phrases.page_name(proof.evidence)} at 0x{proof.evidence.user_address:x}",
        )
        tests += 1
        wrong = [f for f in proof.findings if f.severity is Severity.ERROR]
        if proof.verdict is Verdict.DIFFERENT or wrong:
            failures += 1
            message = proof.sentence if proof.verdict is Verdict.DIFFERENT else wrong[0].sentence
            _outcome(case, "failure", message, phrases.headline(proof, mapping))
        elif proof.verdict is Verdict.UNKNOWN:
            errors += 1
            _outcome(case, "error", proof.sentence, phrases.headline(proof, mapping))
    general = [f for f in report.findings if f.severity is Severity.ERROR]
    for finding in general:
        case = ElementTree.SubElement(suite, "testcase", classname="pageproof", name=finding.id)
        _outcome(case, "failure", finding.sentence, finding.where)
        tests, failures = tests + 1, failures + 1
    if not tests:
        case = ElementTree.SubElement(suite, "testcase", classname="pageproof", name="verify")
        text = "; ".join(finding.sentence for finding in report.findings)
        _outcome(case, "error", "nothing was verified", text)
        tests, errors = 1, 1
    suite.set("tests", str(tests))
    suite.set("failures", str(failures))
    suite.set("errors", str(errors))
    ElementTree.indent(suite)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        + ElementTree.tostring(suite, encoding="unicode")
        + "\n"
    )


def _outcome(case: ElementTree.Element, tag: str, message: str, text: str) -> None:
    ElementTree.SubElement(case, tag, message=message).text = text
