# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the rules: what is missing, what breaks, what moves, what is accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from unit.auditfacts import AREA, RWX, SOUND, kernel_with, leaf

from pageproof.cli import main
from pageproof.errors import Exit, PageproofError
from pageproof.files.baseline import parse_baseline
from pageproof.files.places import read_where
from pageproof.judge.audit import CHECKS
from pageproof.judge.audit.check import Check, Judged, adjoining, seen_again
from pageproof.judge.audit.engine import (
    Result,
    exit_code,
    is_clean,
    needs_of,
    of_a_torn_image,
    outcome_of,
    run_check,
    standing,
    worst_first,
)
from pageproof.judge.conditions import WRITE_EXECUTE
from pageproof.model import Finding, Severity
from pageproof.model.audit import Ruling
from pageproof.model.auditfacts import AuditFacts, Need
from pageproof.model.where import Space, in_space, named_region
from pageproof.render.baseline import baseline_to_json
from pageproof.render.where import where_words

WX = next(check for check in CHECKS if check.rule is WRITE_EXECUTE)
BROKEN = kernel_with(leaf(AREA, 0x5000, 1, RWX))


def result(*places: str, undecided: str = "", more: int = 0) -> Result:
    findings = tuple(WRITE_EXECUTE.finding(read_where(place)) for place in places)
    return Result(WX, Judged(1, findings, more, undecided))


def test_what_is_missing_is_unknown() -> None:
    facts = replace(SOUND, kernel=None, missing={Need.KERNEL: "left out of the dump"})
    found = run_check(WX, facts)
    outcome, _, _ = outcome_of(found, {})
    assert (outcome.ruling, found.judged.checked) == (Ruling.UNKNOWN, 0)
    assert outcome.reason == "the kernel's page tables cannot be read: left out of the dump"
    assert exit_code([outcome]) is Exit.UNDECIDED


def test_a_broken_rule_does_not_lose_the_others() -> None:
    def breaks(facts: AuditFacts) -> Judged:
        raise ZeroDivisionError("by zero")

    broken = run_check(Check(WRITE_EXECUTE, "", "pages", (), breaks), SOUND)
    assert broken.judged == Judged(0, undecided="the rule failed: ZeroDivisionError: by zero")
    outcomes = [outcome_of(one, {})[0] for one in (broken, run_check(WX, SOUND))]
    assert [one.ruling for one in outcomes] == [Ruling.UNKNOWN, Ruling.SOUND]


def test_an_error_without_words_has_its_name() -> None:
    def breaks(facts: AuditFacts) -> Judged:
        raise AssertionError

    broken = run_check(Check(WRITE_EXECUTE, "", "pages", (), breaks), SOUND)
    assert broken.judged.undecided == "the rule failed: AssertionError"


def test_all_that_is_missing_is_told() -> None:
    missing = {Need.KERNEL: "left out", Need.IMAGE: "no symbols", Need.RAM: "no list"}
    check = next(one for one in CHECKS if one.rule.id == "rodata-writable")
    assert run_check(check, replace(SOUND, missing=missing)).judged.undecided == (
        "the kernel's page tables cannot be read: left out; "
        "the symbols of the kernel's image cannot be read: no symbols"
    )


def test_nothing_to_look_at_is_no_pass() -> None:
    facts = replace(SOUND, kernel=())
    assert run_check(WX, facts).judged.undecided == "there are no pages to look at"
    pti = [check for check in CHECKS if check.rule.id.startswith("pti")]
    assert not any(run_check(check, SOUND).judged.undecided for check in pti)


def test_exit_codes() -> None:
    found = outcome_of(run_check(WX, BROKEN), {})[0]
    sound = outcome_of(run_check(WX, SOUND), {})[0]
    doubt = replace(sound, ruling=Ruling.UNKNOWN, reason="why")
    assert exit_code([sound]) is Exit.SOUND
    assert exit_code([sound, doubt]) is Exit.UNDECIDED
    assert exit_code([found, doubt]) is Exit.WRONG
    assert exit_code([replace(found, severity=Severity.WARNING)]) is Exit.SOUND
    assert exit_code([]) is Exit.UNDECIDED


def test_only_what_two_looks_see_stands() -> None:
    both = standing(result("a", "b"), result("b", "c"))
    assert [where_words(one.where) for one in both.judged.findings] == ["b"]
    assert (both.check, both.judged.checked) == (WX, 1)


MOVING = (Need.USERS, Need.FRAMES, Need.AREAS)


@pytest.mark.parametrize("need", Need)
def test_what_moves_is_undecided_in_a_torn_image(need: Need) -> None:
    found = result("physmap", "vmalloc", more=3)
    found = replace(found, check=replace(found.check, needs=(Need.KERNEL, need)))
    told = of_a_torn_image(found)
    if need not in MOVING:
        assert told is found
        return
    assert told.judged == Judged(1, undecided="5 findings, which a torn image may have made up")
    assert exit_code([outcome_of(told, {})[0]]) is Exit.UNDECIDED


def test_a_torn_image_keeps_notes_and_reasons() -> None:
    check = replace(WX, needs=(Need.USERS,))
    sound = Result(check, Judged(7))
    assert of_a_torn_image(sound) is sound
    error, *_ = result("physmap").judged.findings
    note = replace(error, severity=Severity.NOTE)
    only_note = Result(check, Judged(7, (note,)))
    assert of_a_torn_image(only_note) is only_note
    told = of_a_torn_image(Result(check, Judged(7, (error, note), undecided="a part is missing")))
    assert told.judged.findings == (note,)
    assert told.judged.undecided == (
        "a part is missing; 1 finding, which a torn image may have made up"
    )


def test_more_findings_stand_if_the_first_ones_do() -> None:
    """Of a crowd of exiting processes each look found more than 50, none of them twice."""
    same = standing(result("a", "b", "c", more=5), result("a", "b", more=2)).judged
    assert (same.more, same.undecided) == (2, "")
    moving = standing(result("a", "b", more=5), result("b", "c", more=2)).judged
    assert (moving.more, moving.undecided) == (0, "more than 50 findings, which come and go")
    assert [where_words(one.where) for one in moving.findings] == ["b"]
    assert standing(result("a", more=5), result("b")).judged == Judged(1)


RANGE = "pid 7 (a, 1-2), 1000-4fff"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (RANGE, RANGE, [RANGE]),
        ("pid 7 (a, 1-2), 2000-2fff", RANGE, ["pid 7 (a, 1-2), 2000-2fff"]),
        (RANGE, "pid 7 (a, 1-2), 4000-9fff", ["pid 7 (a, 1-2), 4000-4fff"]),
        (RANGE, "pid 7 (a, 1-2), 0-1fff", ["pid 7 (a, 1-2), 1000-1fff"]),
        (RANGE, "pid 7 (a, 1-2), 5000-9fff", []),
        (RANGE, "pid 8 (a, 1-2), 1000-4fff", []),
        (RANGE, "pid 7 (a, 1-2), entry 3", []),
        ("PFN 0x9-0xb", "PFN 0xa-0xc", ["PFN 0xa-0xb"]),
        ("PFN 0x9-0xa", "PFN 0xa-0xc", ["PFN 0xa-0xa"]),
        ("PFN 0x9-0xa", "PFN 0xb-0xc", []),
        # The kernel's own ranges move as a whole.
        ("ffff888000000000-ffff888000001fff", "ffff888000001000-ffff888000001fff", []),
    ],
)
def test_of_a_range_what_both_looks_see_stands(
    before: str, after: str, expected: list[str]
) -> None:
    both = standing(result(before), result(after))
    assert [where_words(one.where) for one in both.judged.findings] == expected


def test_the_evidence_of_a_part() -> None:
    shown = ("pages", "4"), ("evidence", "of the first page"), ("PFN", "0x9")
    (one,) = (replace(found, evidence=shown) for found in result(RANGE).judged.findings)
    after = Result(WX, Judged(1, (one,)))
    head, tail = "pid 7 (a, 1-2), 1000-2fff", "pid 7 (a, 1-2), 4000-4fff"
    kept = standing(result(head, tail), after).judged.findings
    assert [(where_words(found.where), found.evidence) for found in kept] == [
        (head, (("pages", "2"), *shown[1:])),
        (tail, (("pages", "1"),)),
    ]
    (all_of_it,) = standing(result(RANGE), after).judged.findings
    assert all_of_it == one


def test_the_pages_of_a_part_of_frames() -> None:
    (part,) = standing(result("PFN 0x9-0xb"), result("PFN 0xa-0xd")).judged.findings
    assert part.evidence == (("pages", "2"),)


def test_a_whole_range_keeps_its_evidence() -> None:
    (one,) = standing(result(RANGE), result("pid 7 (a, 1-2), 2000-2fff")).judged.findings
    assert one.evidence == ()


def test_a_place_without_a_range_does_not_end_the_search() -> None:
    both = standing(result("pid 7 (a, 1-2), entry 3", RANGE), result("pid 7 (a, 1-2), 1000-1fff"))
    assert len(both.judged.findings) == 1


def test_a_finding_of_another_rule_does_not_end_the_search() -> None:
    (one,) = result(RANGE).judged.findings
    assert list(seen_again(one, [replace(one, id="another"), one])) == [one]


def shown(where: str, *evidence: tuple[str, str]) -> Finding:
    return replace(WRITE_EXECUTE.finding(read_where(where)), evidence=evidence)


def test_pages_of_adjoining_findings_are_added() -> None:
    first, second = shown("PFN 0x1-0x3", ("pages", "3")), shown("PFN 0x4-0x4")
    (one,) = adjoining([first, second, shown("PFN 0x5-0x6", ("pages", "2"))])
    assert (where_words(one.where), one.evidence) == ("PFN 0x1-0x6", (("pages", "6"),))
    (one,) = adjoining([shown("PFN 0x1-0x2", ("pages", "2"), ("a", "b")), shown("PFN 0x3-0x3")])
    assert one.evidence == (("pages", "3"), ("evidence", "of the first page"), ("a", "b"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # What is undecided in one look is decided by the other one,
        (result(), result(undecided="torn"), result()),
        (result(undecided="torn"), result(), result()),
        (result("a"), result("a", undecided="torn"), result("a")),
        (result("a", undecided="torn"), result("a"), result("a")),
        # but not that something is there which only the other one found.
        (result("a"), result(undecided="torn"), result(undecided="torn")),
        (result(undecided="torn"), result("a"), result(undecided="torn")),
        (result("a", "b"), result("a", undecided="torn"), result("a", undecided="torn")),
        # What only the undecided look found came and went.
        (result("a", undecided="torn"), result(), result()),
        (result(), result("a", undecided="torn"), result()),
        (result(undecided="1"), result(undecided="2"), result(undecided="2")),
        (result("a", undecided="1"), result("a", undecided="2"), result("a", undecided="2")),
    ],
)
def test_two_looks_that_could_not_decide_all(
    before: Result, after: Result, expected: Result
) -> None:
    assert standing(before, after).judged == expected.judged


def test_the_look_that_was_decided_tells_how_much_was_checked() -> None:
    torn = Result(WX, Judged(7, undecided="torn"))
    assert standing(result(), torn).judged.checked == 1
    assert standing(torn, result()).judged.checked == 1
    assert standing(torn, torn).judged.checked == 7


def test_findings_that_are_not_kept_count_too() -> None:
    outcome, new, _ = outcome_of(
        result("a", "b", more=5), {"kernel-write-execute": {read_where("a")}}
    )
    assert (outcome.findings, len(new), outcome.accepted) == (6, 1, 1)
    assert outcome.ruling is Ruling.FINDINGS
    outcome, new, _ = outcome_of(result("a", more=1), {"kernel-write-execute": {read_where("a")}})
    assert (outcome.findings, new, outcome.ruling) == (1, (), Ruling.FINDINGS)


def test_what_was_not_decided_stays_so_beside_findings() -> None:
    outcome, _, _ = outcome_of(result("a", undecided="torn"), {})
    assert (outcome.ruling, outcome.reason) == (Ruling.FINDINGS, "torn")
    accepted, _, _ = outcome_of(
        result("a", undecided="torn"), {"kernel-write-execute": {read_where("a")}}
    )
    assert accepted.ruling is Ruling.UNKNOWN
    assert exit_code([accepted]) is Exit.UNDECIDED


def test_what_rules_need() -> None:
    by_id = {check.rule.id: check for check in CHECKS}
    some = [by_id[name] for name in ("physmap-type", "pti-exposes-kernel")]
    assert needs_of(some) == {Need.KERNEL, Need.RAM, Need.USER_HALF, Need.IMAGE}
    assert needs_of([]) == frozenset()


def test_the_worst_comes_first() -> None:
    order = (Severity.NOTE, Severity.ERROR, Severity.WARNING, Severity.ERROR)
    some = [
        replace(CHECKS[0].rule, severity=one).finding(read_where(f"{n}"))
        for n, one in enumerate(order)
    ]
    assert [where_words(one.where) for one in worst_first(some)] == ["1", "3", "2", "0"]


def test_notes_need_no_second_look() -> None:
    note = next(check for check in CHECKS if check.rule.severity is Severity.NOTE)
    listed = note.rule.finding(read_where("x"), what="y")
    assert is_clean(Result(note, Judged(1, (listed,))))
    assert not is_clean(result("a"))
    assert not is_clean(result(undecided="torn"))


# Baselines


def test_what_the_baseline_accepts_does_not_count() -> None:
    found = run_check(WX, BROKEN)
    (place,) = (one.where for one in found.judged.findings)
    outcome, new, old = outcome_of(found, {"kernel-write-execute": {place}})
    assert (new, len(old), outcome.accepted) == ((), 1, 1)
    assert outcome.ruling is Ruling.SOUND
    assert exit_code([outcome]) is Exit.SOUND
    assert outcome_of(found, {"rodata-writable": {place}})[0].findings == 1


def test_a_baseline_is_read_as_it_was_written() -> None:
    findings = run_check(WX, BROKEN).judged.findings
    text = baseline_to_json(findings)
    for one in (text, f"\n {text}"):
        assert parse_baseline(one, "x") == {"kernel-write-execute": {findings[0].where}}


def test_the_text_of_a_baseline() -> None:
    """A line a finding, so that a diff of two is read easily; names as they are."""
    found = WRITE_EXECUTE.finding(read_where("pid 7 (ü)"))
    assert baseline_to_json([found]) == (
        '{\n  "schema": "pageproof/baseline-1",\n  "findings": [\n    {\n'
        '      "id": "kernel-write-execute",\n      "where": "pid 7 (ü)"\n    }\n  ]\n}\n'
    )


def test_a_report_is_a_baseline_with_what_it_accepted() -> None:
    one, other = {"id": "a", "where": "x", "severity": "error"}, {"id": "a", "where": "y"}
    text = json.dumps({"schema": "pageproof/audit-1", "findings": [one], "accepted": [other]})
    assert parse_baseline(text, "x") == {"a": {read_where("x"), read_where("y")}}


def test_a_baseline_of_lines() -> None:
    text = "# known\n\nrule-a pid 1 (init), 8000\nrule-a other\nrule-b x\n"
    assert parse_baseline(text, "x") == {
        "rule-a": {in_space(Space(1, "init"), 0x8000), named_region("other")},
        "rule-b": {named_region("x")},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# known\nrule-a\n", "line 2 of the baseline has no place: 'rule-a', known; RULE PLACE"),
        *(
            (text, "this is not a baseline, known; make one with audit --write-baseline FILE")
            for text in (
                "{}",
                "{",
                '{"findings": [{"id": 1, "where": "x"}]}',
                '{"findings": [{"id": "x", "where": null}]}',
                '{"findings": [{"id": "x"}]}',
                '{"findings": ["x"]}',
                '{"findings": 1}',
            )
        ),
    ],
)
def test_no_baseline(text: str, message: str) -> None:
    with pytest.raises(PageproofError) as raised:
        parse_baseline(text, "known")
    assert str(raised.value) == message


# The command line


def test_the_list_needs_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--list", "--skip", "table-unmarked"]) == 0
    out = capsys.readouterr().out
    listed = {line.split()[0] for line in out.splitlines() if not line.startswith(" ")}
    assert listed == {check.rule.id for check in CHECKS} - {"table-unmarked"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rule", "no-such"), "there is no rule 'no-such'"),
        (("--skip", "no-such"), "there is no rule 'no-such'"),
        (("--rule", "table-unmarked", "--skip", "table-unmarked"), "no rule is left"),
        (("--baseline", "/nonexistent/x"), "can't read the baseline"),
        (("--list", "--format", "json"), "--list is text"),
    ],
)
def test_wrong_usage(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "baseline"
    path.write_bytes(b"\xff\xfe\xff")
    assert main(["audit", "--baseline", str(path)]) == 2
    assert "this is not a baseline, but binary data" in capsys.readouterr().err
