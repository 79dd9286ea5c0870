# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as JUnit XML, for CI servers: one test case a page."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

from pageproof.model import PageRun, ProvedUse, Report, Severity, Verdict
from pageproof.render import phrases


def report_to_junit(report: Report) -> str:
    """XML text with a newline at its end.

    DIFFERENT and error findings are failures; UNKNOWN is an error, because a
    skipped test would look like a good one. With no page there is one test
    case that is an error. Pages without evidence of their own are one case a run.
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
    for region in report.regions:
        for use in region.uses:
            for run in _without_evidence(report, use):
                who = phrases.process(report.mappings[use.mapping])
                name = f"{run.pages} pages of {region.name} from page {run.first_page}"
                case = ElementTree.SubElement(
                    suite, "testcase", classname=f"pageproof.{who}", name=name
                )
                tests += 1
                if run.verdict is Verdict.DIFFERENT:
                    failures += 1
                    _outcome(case, "failure", "other frames than the kernel's", name)
                elif run.verdict is Verdict.UNKNOWN:
                    errors += 1
                    _outcome(case, "error", str(run.reason), name)
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


def _without_evidence(report: Report, use: ProvedUse) -> Iterator[PageRun]:
    """Runs of pages of which some have no proof of their own; counted by the region's pages."""
    proved = sorted(
        proof.evidence.page_index
        for proof in report.proofs
        if proof.evidence.mapping == use.mapping and proof.evidence.page_index is not None
    )
    for run in use.runs:
        first = use.first_page + run.first_page
        there = bisect_left(proved, first + run.pages) - bisect_left(proved, first)
        if there < run.pages:
            yield replace(run, first_page=first, pages=run.pages - there)


def _outcome(case: ElementTree.Element, tag: str, message: str, text: str) -> None:
    ElementTree.SubElement(case, tag, message=message).text = text
