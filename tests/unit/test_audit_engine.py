# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the rules: what is missing, what breaks, what moves, what is accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from unit.auditfacts import AREA, RWX, SOUND, kernel_with, leaf

from pageproof.cli import main
from pageproof.errors import Exit, PageproofError
from pageproof.judge.audit import CHECKS
from pageproof.judge.audit.baseline import baseline_to_json, parse_baseline
from pageproof.judge.audit.check import Check, Judged
from pageproof.judge.audit.engine import (
    Result,
    exit_code,
    is_clean,
    outcome_of,
    run_check,
    standing,
)
from pageproof.judge.audit.rights import WRITE_EXECUTE
from pageproof.model import Severity
from pageproof.model.audit import Ruling
from pageproof.model.auditfacts import AuditFacts, Need

WX = next(check for check in CHECKS if check.rule is WRITE_EXECUTE)
BROKEN = kernel_with(leaf(AREA, 0x5000, 1, RWX))


def result(*places: str, undecided: str = "", more: int = 0) -> Result:
    findings = tuple(WRITE_EXECUTE.finding(place) for place in places)
    return Result(WX, Judged(1, findings, more, undecided))


def test_what_is_missing_is_unknown() -> None:
    facts = replace(SOUND, kernel=None, missing={Need.KERNEL: "left out of the dump"})
    outcome, _, _ = outcome_of(run_check(WX, facts), {})
    assert outcome.ruling is Ruling.UNKNOWN
    assert outcome.reason == "the kernel's page tables can't be had: left out of the dump"
    assert exit_code([outcome]) is Exit.UNDECIDED


def test_a_broken_rule_does_not_lose_the_others() -> None:
    def breaks(facts: AuditFacts) -> Judged:
        raise ZeroDivisionError("by zero")

    broken = run_check(Check(WRITE_EXECUTE, "", "pages", (), breaks), SOUND)
    assert broken.judged.undecided == "the rule failed: ZeroDivisionError: by zero"
    outcomes = [outcome_of(one, {})[0] for one in (broken, run_check(WX, SOUND))]
    assert [one.ruling for one in outcomes] == [Ruling.UNKNOWN, Ruling.SOUND]


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
    both = standing(result("a", "b", more=5), result("b", "c", more=2))
    assert [one.where for one in both.judged.findings] == ["b"]
    assert both.judged.more == 2
    assert standing(result("a"), result(undecided="torn")).judged == result("a").judged
    assert standing(result(undecided="torn"), result("a")).judged == result("a").judged
    assert standing(result(undecided="1"), result(undecided="2")).judged.undecided == "2"


def test_notes_need_no_second_look() -> None:
    note = next(check for check in CHECKS if check.rule.severity is Severity.NOTE)
    listed = note.rule.finding("x", what="y")
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
    accepted = parse_baseline(baseline_to_json(findings), "x")
    assert accepted == {"kernel-write-execute": {findings[0].where}}


def test_a_baseline_of_lines() -> None:
    text = "# known\n\nrule-a pid 1 (init), 8000\nrule-a other\nrule-b x\n"
    assert parse_baseline(text, "x") == {
        "rule-a": {"pid 1 (init), 8000", "other"},
        "rule-b": {"x"},
    }


@pytest.mark.parametrize("text", ["rule-a\n", "{}", "{", '{"findings": [{"id": 1, "where": "x"}]}'])
def test_no_baseline(text: str) -> None:
    with pytest.raises(PageproofError, match="baseline"):
        parse_baseline(text, "x")


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
    assert "can't read the baseline" in capsys.readouterr().err
