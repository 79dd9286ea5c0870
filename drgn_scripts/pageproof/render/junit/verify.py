# SPDX-License-Identifier: GPL-2.0-or-later
"""A proof as JUnit XML: a suite for each region, with a case for each mapping and each rule.

CI servers match the cases of two runs by ``classname`` and ``name``, and GitLab drops a second case
of the same names. So neither contains a PID or an address; the text does. GitLab shows the text of
a failure, Jenkins also its message.

    testsuites
      testsuite            a region; the last is "verify", for findings outside all regions
        properties
        testcase           "verdict: COMM, pages 0-3": failure, error or skipped
        testcase           "rule ID": failure
        system-out         warnings and notes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from pageproof.model import (
    Finding,
    PageProof,
    ProvedRegion,
    ProvedUse,
    Reason,
    Report,
    Severity,
    Verdict,
)
from pageproof.model.where import WhereKind
from pageproof.render import phrases
from pageproof.render.findings import spans
from pageproof.render.junit.suites import Case, Suite, suites_to_xml
from pageproof.render.where import where_words

#: Bad pages of a mapping that are listed one by one.
_LISTED: Final = 8


def verify_to_junit(
    report: Report, rules: Callable[[str], Sequence[str]], *, strict: bool = True
) -> str:
    """Return XML text with a newline at its end.

    DIFFERENT pages and error findings are failures. UNKNOWN pages are errors, because a skipped
    test would look like a passed one. The result is never better than the exit code: if nothing
    was verified, there is one case, which is an error.

    Args:
        report: the report of verify.
        rules: returns the ids of the rules for regions of a kind; rules without a finding are
            cases too.
        strict: a page that nobody has touched is undecided. Otherwise it does not count, and a
            mapping with no other pages is skipped.
    """
    suites = list(_suites(report, rules, strict))
    _add_rest(suites, report)
    return suites_to_xml("pageproof verify", report.times.verify_seconds, suites)


# Regions


def _suites(report: Report, rules: Callable[[str], Sequence[str]], strict: bool) -> Iterator[Suite]:
    of_region: dict[int | None, list[PageProof]] = {}
    for proof in report.proofs:
        of_region.setdefault(proof.evidence.region, []).append(proof)
    placed = _by_place(report.findings)
    for number, region in enumerate(report.regions):
        label = phrases.region_kind(region.kind, region.part)
        suite = Suite(f"{label}: {region.name}", _properties(report, region))
        proofs = of_region.get(number, [])
        bad: dict[int, list[PageProof]] = {}
        for proof in proofs:
            if proof.verdict is not Verdict.SAME:
                bad.setdefault(proof.evidence.mapping, []).append(proof)
        suite.cases += [
            _verdict(report, one, bad.get(one.mapping, []), strict) for one in region.uses
        ]
        findings = [finding for proof in proofs for finding in proof.findings]
        of_mappings = sorted(
            at for place in set(_places(report, region)) for at in placed.get(place, ())
        )
        findings += [report.findings[at] for at in of_mappings]
        _add_rules(suite, findings, rules(region.kind) if proofs else ())
        yield suite
    named = of_region.get(None)
    if named:
        suite = Suite("addresses", _properties(report))
        suite.cases += [_named(report, one) for one in named]
        _add_rules(suite, [one for proof in named for one in proof.findings], rules(""))
        yield suite


def _properties(report: Report, region: ProvedRegion | None = None) -> dict[str, str]:
    facts = {"target": phrases.target(report.target), "kernel": report.target.release}
    if region is not None:
        facts["owner"] = f"{region.owner_type} {phrases.address(region.owner)}"
        facts["pages"] = str(region.pages)
    return facts


#: Process and start of a mapping.
_Place = tuple[int | None, int | None]


def _places(report: Report, region: ProvedRegion) -> Iterator[_Place]:
    """Yield the places of findings that are about a mapping of a region."""
    for use in region.uses:
        mapping = report.mappings[use.mapping]
        if mapping.vma is not None:
            yield mapping.pid, mapping.vma.start


def _by_place(findings: Iterable[Finding]) -> dict[_Place, list[int]]:
    """Return the indexes of findings about processes by their place."""
    placed: dict[_Place, list[int]] = {}
    for at, one in enumerate(findings):
        if one.where.kind is WhereKind.PROCESS:
            placed.setdefault((one.where.pid, one.where.address), []).append(at)
    return placed


def _verdict(report: Report, use: ProvedUse, bad: Sequence[PageProof], strict: bool) -> Case:
    """Return the case of a mapping, with the verdicts of its pages.

    Args:
        report: the report.
        use: the mapping.
        bad: the proofs of its pages that are not SAME.
        strict: as for :func:`verify_to_junit`.
    """
    mapping = report.mappings[use.mapping]
    assert mapping.vma is not None  # a use is a VMA
    pages = mapping.vma.pages
    lines = [f"{phrases.process(mapping)}, {mapping.vma.start:x}-{mapping.vma.end:x}"]
    lines += [
        f"{phrases.page_numbers(use.first_page + run.first_page, run.pages)}: "
        + (run.reason.value if run.reason else run.verdict.value)
        for run in use.runs
    ]
    listed = [phrases.headline(proof, mapping) for proof in bad[:_LISTED]]
    case = Case(f"verdict: {mapping.comm}, {phrases.page_numbers(use.first_page, pages)}")
    different = sum(run.pages for run in use.runs if run.verdict is Verdict.DIFFERENT)
    different = different or sum(one.verdict is Verdict.DIFFERENT for one in bad)
    unknown = sum(run.pages for run in use.runs if run.verdict is Verdict.UNKNOWN)
    absent = sum(run.pages for run in use.runs if run.reason is Reason.NOT_PRESENT)
    matter = unknown if strict else unknown - absent
    if different:
        case.fails("failure", f"{different} of {phrases.plural(pages, 'page')} DIFFERENT")
    elif matter:
        case.fails("error", f"{matter} of {phrases.plural(pages, 'page')} UNKNOWN")
    elif unknown == pages:
        case.fails("skipped", "nobody has touched its pages")
    if case.outcome in ("failure", "error"):
        case.text = [*lines, *listed]
    else:
        case.out = lines
    return case


def _named(report: Report, proof: PageProof) -> Case:
    """Return the case of a page that the user gave by its address."""
    mapping = report.mappings[proof.evidence.mapping]
    case = Case(f"verdict: {mapping.comm}, 0x{proof.evidence.user_address:x}")
    case.out = [phrases.headline(proof, mapping)]
    if proof.verdict is not Verdict.SAME:
        case.text, case.out = case.out, []
        outcome = "failure" if proof.verdict is Verdict.DIFFERENT else "error"
        case.fails(outcome, proof.sentence)
    return case


# Rules


def _add_rules(suite: Suite, findings: Iterable[Finding], rules: Sequence[str]) -> None:
    """Add a case for each rule, a failure if it found an error; the output lists other findings."""
    errors: dict[str, list[Finding]] = {rule: [] for rule in rules}
    for finding in findings:
        if finding.severity is Severity.ERROR:
            errors.setdefault(finding.id, []).append(finding)
        else:
            suite.out += _finding_lines(finding)
    for rule, found in errors.items():
        case = Case(f"rule {rule}")
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            case.fails("failure", f"{where_words(found[0].where)}: {found[0].sentence}{more}")
            case.text = [line for one in spans(found) for line in _finding_lines(one)]
        suite.cases.append(case)


def _finding_lines(finding: Finding) -> list[str]:
    words = where_words(finding.where)
    where = f"{words}: " if words else ""
    shown = [f"    {name}: {value}" for name, value in finding.evidence if value]
    return [f"{finding.severity.value}: {where}{finding.sentence} [{finding.id}]", *shown]


def _add_rest(suites: list[Suite], report: Report) -> None:
    """Add the findings outside all regions, and a case if only the exit code shows a doubt."""
    rest = Suite("verify", _properties(report))
    places = {place for region in report.regions for place in _places(report, region)}
    others = (
        one
        for one in report.findings
        if one.where.kind is not WhereKind.PROCESS
        or (one.where.pid, one.where.address) not in places
    )
    _add_rules(rest, others, ())
    every = [*suites, rest]
    if not any(suite.cases for suite in every):
        _add_undecided(rest, "nothing was verified")
    elif report.summary.exit_code and not any(
        suite.count(outcome) for suite in every for outcome in ("failure", "error")
    ):
        _add_undecided(rest, "something could not be decided")
    suites[:] = [suite for suite in every if suite.cases or suite.out]


def _add_undecided(suite: Suite, why: str) -> None:
    """Add a case that makes the result no better than the exit code."""
    case = Case("everything was decided", text=suite.out)
    case.fails("error", why)
    suite.cases.append(case)
    suite.out = []
