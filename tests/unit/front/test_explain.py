# SPDX-License-Identifier: GPL-2.0-or-later
"""``explain``: every rule is explained completely, and for a typo the nearest rule is suggested."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import pageproof
from pageproof.cli import main
from pageproof.judge.catalogue import CATALOGUE, RULES_BY_ID, commands_of
from pageproof.model import Severity

RULES = list(RULES_BY_ID.values())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule(rule: pageproof.model.rule.Rule, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", rule.id]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"{rule.id} {rule.severity.value} ")
    for text in (rule.cause, rule.fix, rule.reference):
        assert text in said
    assert not re.search(r"\{\w+\}", said)


#: Rules whose findings leave exit code 0; all others are errors.
WARNINGS = """
    user-address-closed-to-user user-mapping-executable user-writes-kernel-read-only
    may-be-inherited may-become-executable pfnmap-flags mapping-incomplete rule-broken
    region-unreadable task-unreadable data-damaged
    uncounted
    efi-write-execute mapped-hole gave-up
"""
NOTES = """
    prot-none content-changing content-all-zero content-unreadable mapping-partial
    region-pages-unmapped nothing-to-verify mapping-kind kernel-side-unknown
    special mapcount-more incomplete
    shared-tables undecided
    pti-kernel-part
    region-part-unknown kernel-side-by-value
"""


def test_what_is_no_error() -> None:
    found = {one: {rule.id for rule in RULES if rule.severity is one} for one in Severity}
    assert found[Severity.WARNING] == set(WARNINGS.split())
    assert found[Severity.NOTE] == set(NOTES.split())


def test_no_two_rules_have_one_name_or_one_sentence() -> None:
    """A condition that two commands report is one rule, the same object, in both."""
    every = {rule for rules in CATALOGUE.values() for rule in rules}
    assert every == set(RULES)
    assert len({rule.sentence for rule in every}) == len(every)
    for rules in CATALOGUE.values():
        assert len(set(rules)) == len(rules)


def test_rules_stand_in_one_place() -> None:
    """In conditions.py if several commands report it, else beside its check."""
    root = Path(pageproof.__file__).parent
    made = [
        name
        for path in root.rglob("*.py")
        for name in re.findall(r"Rule\(\n\s+(?:id=)?\"([a-z-]+)\"", path.read_text())
    ]
    assert sorted(made) == sorted(RULES_BY_ID)
    shared = (root / "judge" / "conditions.py").read_text()
    for rule in RULES:
        several = set(commands_of(rule)) - {"regions"}
        assert (f'"{rule.id}"' in shared) == (len(several) > 1), rule.id


def test_no_finding_is_made_but_by_a_rule() -> None:
    """Every finding comes from a rule, so it can be explained."""
    root = Path(pageproof.__file__).parent
    made = [path.name for path in root.rglob("*.py") if re.search(r"\bFinding\(", path.read_text())]
    assert made == ["rule.py"]


def test_a_list_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {f"rules of {command}" for command in CATALOGUE} <= set(lines)
    assert {rule.id for rule in RULES} <= {line.split()[0] for line in lines if line}


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "wrong-order", "off-by-one", "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in said] == ["wrong-order", "off-by-one"]
    assert set(said[0]) == {
        "id",
        "severity",
        "sentence",
        "cause",
        "fix",
        "reference",
        "commands",
    }


def test_a_typo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "wrong-oder"]) == 2
    err = capsys.readouterr().err
    assert "there is no rule 'wrong-oder'" in err
    assert "did you mean wrong-order?" in err
