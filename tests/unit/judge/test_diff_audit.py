# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two audits: findings, what could be decided."""

import json
import random
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from unit.facts import CORE, LIVE, PAGING

import pageproof
from pageproof.files.places import read_where
from pageproof.judge.audit.engine import exit_code
from pageproof.judge.diff.audits import diff_audits
from pageproof.model import Finding, Severity
from pageproof.model.audit import AUDIT_SCHEMA, AuditReport, RuleOutcome, Ruling
from pageproof.model.auditdiff import AuditDiffReport
from pageproof.model.diff import Change
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text
from pageproof.render.where import where_words

SCHEMA = Path(pageproof.__file__).parent / "schema" / "auditdiff-1.json"
LOST = "struct page of all frames cannot be read: excluded"
NEW, GONE = Change.NEW, Change.GONE
#: A rule, what it found, and what the baseline accepts of that.
Judged = tuple[RuleOutcome, list[Finding], list[Finding]]


def rule(
    name: str = "maps-free",
    *places: str,
    known: tuple[str, ...] = (),
    hidden: int = 0,
    reason: str = "",
    severity: Severity = Severity.ERROR,
) -> Judged:
    """What became of a rule; ``audited`` puts it into a report.

    Args:
        name: its id.
        places: of its findings.
        known: places that the baseline accepts.
        hidden: findings that are counted and not shown.
        reason: why it was not decided, or not wholly.
        severity: of its findings.
    """
    found, accepted = (
        [Finding(name, severity, read_where(place), f"{name} is wrong") for place in some]
        for some in (places, known)
    )
    count = len(found) + hidden
    ruling = Ruling.FINDINGS if count else Ruling.UNKNOWN if reason else Ruling.SOUND
    outcome = RuleOutcome(
        name, severity, f"what {name} is", ruling, 9, "frames", count, len(known), reason
    )
    return outcome, found, accepted


def audited(*rules: Judged) -> AuditReport:
    outcomes = tuple(outcome for outcome, _, _ in rules)
    return AuditReport(
        schema=AUDIT_SCHEMA,
        version="0.1.0",
        target=CORE,
        paging=PAGING,
        outcomes=outcomes,
        findings=tuple(one for _, found, _ in rules for one in found),
        accepted=tuple(one for _, _, known in rules for one in known),
        attempts=1,
        seconds=0.4,
        exit_code=exit_code(outcomes),
    )


def compare(old: AuditReport, new: AuditReport) -> AuditDiffReport:
    """Through JSON's schema, so that each test checks that too."""
    found = diff_audits(old, new, "old.json", "new.json")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(report_to_json(found)))
    return found


def told(found: AuditDiffReport) -> list[tuple[Change, str, int]]:
    return [(one.change, where_words(one.finding.where), one.times) for one in found.findings]


def code(found: AuditDiffReport) -> int:
    return found.summary.exit_code


def rebooted(one: AuditReport) -> AuditReport:
    return replace(one, paging=replace(PAGING, page_offset_base=0xFF11_0000_0000_0000))


def test_nothing_changed() -> None:
    bad = audited(rule("maps-free", "pid 7"), rule("maps-slab", reason=LOST))
    found = compare(replace(bad, target=LIVE), bad)
    assert (code(found), found.summary.changes, found.boot) == (0, 0, ())
    assert to_text(found).endswith("nothing has changed\n")


@pytest.mark.parametrize("rules", [[], [rule("maps-slab")]])
def test_with_no_rule_in_common_nothing_is_decided(
    rules: list[Judged],
) -> None:
    found = compare(audited(*rules), audited(*rules[:0]))
    assert code(found) == 3
    assert "there is no rule to compare" in to_text(found)


# Findings


@pytest.mark.parametrize(
    ("severity", "wanted"), [(Severity.ERROR, 1), (Severity.WARNING, 0), (Severity.NOTE, 0)]
)
def test_a_finding_that_came_and_one_that_went(severity: Severity, wanted: int) -> None:
    old = audited(rule("maps-free", "pid 7", "pid 8", severity=severity))
    new = audited(rule("maps-free", "pid 8", "pid 9", severity=severity))
    found = compare(old, new)
    assert told(found) == [(NEW, "pid 9", 1), (GONE, "pid 7", 1)]
    assert (code(found), found.rules) == (wanted, ())


def test_a_sentence_and_evidence_say_nothing() -> None:
    old = audited(rule("maps-free", "pid 7"))
    (one,) = old.findings
    other = replace(one, sentence="2 pages are wrong", evidence=(("pages", "2"),))
    assert compare(old, replace(old, findings=(other,))).summary.changes == 0


def test_a_rule_that_is_an_error_now() -> None:
    """By another version of pageproof."""
    old = audited(rule("maps-free", "pid 7", severity=Severity.WARNING))
    found = compare(old, audited(rule("maps-free", "pid 7")))
    assert told(found) == [(NEW, "pid 7", 1), (GONE, "pid 7", 1)]
    assert code(found) == 1


# Findings that are not all shown


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (rule("maps-free", "pid 7", "pid 8", hidden=5), rule("maps-free", "pid 9", hidden=6), []),
        (rule("maps-free", "pid 7", hidden=5), rule("maps-free", "pid 7", hidden=8), [(NEW, 3)]),
        (rule("maps-free", "pid 7", hidden=5), rule("maps-free", "pid 7"), [(GONE, 5)]),
        (rule("maps-free"), rule("maps-free", "pid 7", hidden=5), [(NEW, 6)]),
        # One more is accepted, and three more are not: which of them is new, nobody knows.
        (
            rule("maps-free", "pid 7", known=("pid 8",), hidden=5),
            rule("maps-free", "pid 7", known=("pid 8", "pid 9"), hidden=8),
            [(NEW, 4)],
        ),
        (rule("maps-free"), rule("maps-free", known=("pid 7",), hidden=2), [(NEW, 2)]),
    ],
)
def test_findings_that_are_not_shown_are_compared_by_number(
    old: Judged,
    new: Judged,
    wanted: list[tuple[Change, int]],
) -> None:
    """A place that is shown now may have been there, and not shown."""
    found = compare(audited(old, rule("other", "pid 1")), audited(new, rule("other", "pid 1")))
    assert told(found) == [(change, "", times) for change, times in wanted]
    assert code(found) == (1 if NEW in dict(wanted) else 0)
    assert {one.finding.sentence for one in found.findings} <= {"maps-free is wrong"}


def test_the_first_finding_of_those_that_are_not_all_shown_stands_for_all() -> None:
    outcome, (nine, eight), _ = rule("maps-free", "pid 9", "pid 8", hidden=5)
    nine = replace(nine, sentence="9 is wrong", evidence=(("pages", "9"),))
    eight = replace(eight, sentence="8 is wrong", evidence=(("pages", "8"),))
    found = compare(audited(rule()), audited((outcome, [nine, eight], [])))
    assert told(found) == [(NEW, "", 7)]
    (one,) = found.findings
    assert (one.finding.sentence, one.finding.evidence) == ("8 is wrong", ())


def test_two_findings_at_one_place() -> None:
    outcome, (one, other), _ = rule("maps-free", "pid 7", "pid 7")
    other = replace(other, sentence="another thing is wrong")
    found = compare(audited((outcome, [one, other], [])), audited(rule("maps-free", "pid 7")))
    assert told(found) == [(GONE, "pid 7", 1)]


def test_both_reports_findings_are_counted() -> None:
    for severity in Severity:
        report = audited(rule("maps-free", "pid 7", severity=severity))
        counts = compare(report, report).new.summary
        assert (counts.errors, counts.warnings, counts.notes) == tuple(
            int(severity is one) for one in (Severity.ERROR, Severity.WARNING, Severity.NOTE)
        )


# Findings that a baseline accepts


def test_what_one_reports_baseline_accepts_is_in_both() -> None:
    plain, known = audited(rule("a", "pid 7")), audited(rule("a", known=("pid 7",)))
    for old, new in ((plain, known), (known, plain), (known, known)):
        found = compare(old, new)
        assert (found.summary.changes, code(found)) == (0, 0)


def test_what_is_accepted_is_never_new_and_may_be_gone() -> None:
    none, known = audited(rule()), audited(rule(known=("pid 7",)))
    assert compare(none, known).summary.changes == 0
    assert told(compare(known, none)) == [(GONE, "pid 7", 1)]


# What could be decided


def test_a_rule_that_is_undecided_now() -> None:
    found = compare(audited(rule()), audited(rule(reason=LOST)))
    (change,) = found.rules
    assert change.old and change.new
    assert (change.rule, change.old.reason, change.new.reason) == ("maps-free", "", LOST)
    assert (code(found), found.summary.undecided) == (3, 1)
    text = to_text(found)
    assert f"unknown, was sound  maps-free  {LOST}\n" in text
    assert text.endswith("worse than before: 1 rule undecided\n")


def test_a_rule_that_is_decided_now() -> None:
    found = compare(audited(rule(reason=LOST)), audited(rule()))
    assert [one.rule for one in found.rules] == ["maps-free"]
    assert (code(found), found.summary.undecided) == (0, 0)
    assert f"sound, was unknown  maps-free  {LOST}\n" in to_text(found)


def test_another_reason_says_nothing() -> None:
    found = compare(audited(rule(reason="2 tasks")), audited(rule(reason="3 tasks")))
    assert (found.summary.changes, code(found)) == (0, 0)


def test_what_an_undecided_rule_does_not_find_is_not_gone() -> None:
    """Whether the rule was decided before or not: a finding was, and is not."""
    for before, was in (("", "1 error"), (LOST, "1 error, the rest unknown")):
        old = audited(rule("maps-free", "pid 7", reason=before))
        found = compare(old, audited(rule(reason=LOST)))
        assert (told(found), [one.rule for one in found.rules]) == ([], ["maps-free"])
        assert (code(found), found.summary.undecided) == (3, 1)
        assert f"unknown, was {was}  maps-free" in to_text(found)


def test_what_an_undecided_rule_finds_is_new() -> None:
    for before in ("", LOST):
        new = audited(rule("maps-free", "pid 7", reason=LOST))
        found = compare(audited(rule(reason=before)), new)
        assert (told(found), code(found)) == ([(NEW, "pid 7", 1)], 1)


def test_rules_that_only_one_report_was_asked_for() -> None:
    """What they found is not gone; what they find now is new to the user."""
    both, one = audited(rule("a"), rule("b", "pid 7")), audited(rule("a"))
    found = compare(both, one)
    assert [(change.rule, change.new) for change in found.rules] == [("b", None)]
    assert (told(found), code(found)) == ([], 0)
    assert "not run, was 1 error  b\n" in to_text(found)
    found = compare(one, both)
    assert [(change.rule, change.old) for change in found.rules] == [("b", None)]
    assert (told(found), code(found)) == ([(NEW, "pid 7", 1)], 1)
    assert "1 error, new  b\n" in to_text(found)


def test_a_new_rule_that_nobody_can_decide_is_not_worse() -> None:
    found = compare(audited(rule("a")), audited(rule("a"), rule("b", reason=LOST)))
    assert [one.rule for one in found.rules] == ["b"]
    assert (found.summary.undecided, code(found)) == (0, 0)


# Two boots


def test_of_two_boots_findings_are_compared_by_rule() -> None:
    old = audited(rule("a", "pid 7"), rule("b", "pid 7"), rule("c"), rule("d"))
    new = audited(rule("a", "pid 8", "pid 9"), rule("b"), rule("c"), rule("d", known=("pid 1",)))
    found = compare(old, rebooted(new))
    assert [one.name for one in found.boot] == ["page_offset_base"]
    assert (told(found), code(found)) == ([(GONE, "pid 7", 1)], 3)
    new = audited(rule("a"), rule("b", "pid 1"), rule("c", "pid 3", known=("pid 2",)), rule("d"))
    found = compare(old, rebooted(new))
    assert (told(found), code(found)) == ([(NEW, "pid 3", 1), (GONE, "pid 7", 1)], 1)


def test_two_kernels() -> None:
    other = replace(audited(rule()), target=replace(CORE, release="6.12.117+deb13-cloud-amd64"))
    found = compare(audited(rule()), other)
    assert ([one.name for one in found.boot], code(found)) == (["release"], 3)


# Order


def busy() -> tuple[AuditReport, AuditReport]:
    """A bit of everything."""
    old = audited(
        rule("maps-free", "pid 7 (ring), 7f0000000000", "pid 8 (sh), 7f0000001000"),
        rule("maps-slab", "pid 7 (ring), 7f0000002000"),
        rule("areas", reason="1 task could not be read"),
        rule("half-differs", known=("pid 9 (sh)",)),
        rule("many", "1", "2", hidden=60),
        rule("skipped"),
    )
    new = audited(
        rule("maps-free", "pid 7 (ring), 7f0000000000", "pid 7 (ring), 7f0000003000"),
        rule("maps-slab", reason=LOST),
        rule("areas"),
        rule("half-differs", "pid 9 (sh)", "pid 10 (sh)"),
        rule("many", "2", "3", hidden=70),
        rule("raw", "pid 7 (ring), 7f0000004000", severity=Severity.WARNING),
    )
    return replace(old, target=LIVE), new


def shuffled(one: AuditReport, chance: random.Random) -> AuditReport:
    return replace(
        one,
        outcomes=tuple(chance.sample(one.outcomes, len(one.outcomes))),
        findings=tuple(chance.sample(one.findings, len(one.findings))),
        accepted=tuple(chance.sample(one.accepted, len(one.accepted))),
    )


def test_the_order_of_lists_says_nothing() -> None:
    old, new = busy()
    wanted = compare(old, new)
    for seed in range(20):
        chance = random.Random(seed)
        assert compare(shuffled(old, chance), shuffled(new, chance)) == wanted
    assert wanted.summary.changes > 8
