# SPDX-License-Identifier: GPL-2.0-or-later
"""`audit` of a guest: no finding on a sound one, and each bug of tests/vm/audit at its place."""

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from attached import attached
from auditbugs import BUGS, Made, alarms, end_bugs, is_expected, is_silent, make_bugs
from machine import Json, Machine, Result, each_kernel, each_kernel_at_length

from pageproof.commands.audit import audit
from pageproof.judge.audit import CHECKS
from pageproof.render.jsonform import report_to_json

AUDIT = ("audit", "--format", "json")


@pytest.fixture
def idle(machine: Machine) -> Iterator[Machine]:
    """A guest without the module, whose kzalloc()ed region is a slab page that a process maps."""
    machine.unload()
    yield machine


@pytest.fixture
def all_bugs(idle: Machine) -> Iterator[Made]:
    made = make_bugs(idle, list(BUGS))
    yield made
    end_bugs(idle, made)


def test_an_idle_guest_is_sound(idle: Machine, checkout: Path) -> None:
    is_sound(idle.outside(*AUDIT), checkout)


@each_kernel_at_length
def test_an_idle_guest_is_sound_from_inside(idle: Machine, checkout: Path) -> None:
    is_sound(idle.inside(*AUDIT), checkout)


def is_sound(result: Result, checkout: Path) -> None:
    schema = json.loads((checkout / "drgn_scripts/pageproof/schema/audit-1.json").read_text())
    assert result.code == 0, result.err + result.out
    jsonschema.validate(result.report, schema)
    is_silent(result.report)
    assert {one["rule"] for one in result.report["outcomes"]} == {check.rule.id for check in CHECKS}


@each_kernel
@pytest.mark.long
def test_each_bug_is_found_and_its_sound_twin_is_not(idle: Machine) -> None:
    """One bug at a time gives the expected rule at the right place, and no other."""
    make_bugs(idle, [])  # the program below needs the debug info of its module
    with attached(idle) as view:

        def look() -> Json:
            report = audit(view.target, CHECKS, {}, lambda said: None)
            made: Json = json.loads(report_to_json(report))
            return made

        for name in BUGS:
            twin = make_bugs(idle, [name], sound=True)
            silent = look()
            end_bugs(idle, twin)
            assert alarms(silent) == [], name
            made = make_bugs(idle, [name])
            found = look()
            end_bugs(idle, made)
            is_expected(found, made)
        is_silent(look())


@each_kernel_at_length
def test_all_bugs_at_once_are_found_from_outside_and_inside(idle: Machine, all_bugs: Made) -> None:
    for result in (idle.outside(*AUDIT), idle.inside(*AUDIT)):
        assert result.code == 1, result.err + result.out
        is_expected(result.report, all_bugs)


@each_kernel_at_length
def test_a_baseline_accepts_what_is_known(idle: Machine, all_bugs: Made, tmp_path: Path) -> None:
    baseline = tmp_path / "known.json"
    assert idle.outside(*AUDIT, "--write-baseline", str(baseline)).code == 1
    again = idle.outside(*AUDIT, "--baseline", str(baseline))
    assert again.code == 0, again.out
    assert alarms(again.report) == []
    assert len(again.report["accepted"]) >= len(BUGS)
    one = idle.outside("audit", "--rule", "rodata-writable", "--baseline", str(baseline))
    assert (one.code, "1 accepted" in one.out) == (0, True)
