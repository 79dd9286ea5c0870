# SPDX-License-Identifier: GPL-2.0-or-later
"""Audits against golden files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from junit import cases, parse
from unit.auditfacts import AREA, PAGE, PTI, RWX, SOUND, kernel_with, leaf
from unit.facts import CORE
from unit.golden import matches_golden

import pageproof
from pageproof.front.audit import listed
from pageproof.judge.audit import CHECKS
from pageproof.judge.audit.check import addresses
from pageproof.judge.audit.engine import exit_code, outcome_of, run_check, worst_first
from pageproof.model.audit import AUDIT_SCHEMA, AuditReport
from pageproof.model.auditfacts import AuditFacts, FrameClass, FramePlaces, Need, Span
from pageproof.model.where import Space, Where
from pageproof.render.jsonform import report_to_json
from pageproof.render.junit.audit import audit_to_junit
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "audit"
SCHEMA = Path(pageproof.__file__).parent / "schema" / "audit-1.json"


def report(facts: AuditFacts, accepted: dict[str, set[Where]] | None = None) -> AuditReport:
    """Return the report of all rules on some facts."""
    told = [outcome_of(run_check(check, facts), accepted or {}) for check in CHECKS]
    outcomes = tuple(outcome for outcome, _, _ in told)
    return AuditReport(
        schema=AUDIT_SCHEMA,
        version="0.1.0",
        target=CORE,
        paging=facts.paging,
        outcomes=outcomes,
        findings=worst_first(one for _, new, _ in told for one in new),
        accepted=worst_first(one for _, _, old in told for one in old),
        attempts=1,
        seconds=0.4,
        exit_code=exit_code(outcomes),
    )


def broken() -> AuditFacts:
    """A page that is writable and executable, a slab page by PFN, and no VMAs."""
    facts = kernel_with(leaf(AREA, 0x5000, 1, RWX))
    assert facts.users is not None
    places = ((Space(7, "ring"), 0x7F00_0000_0000),)
    one = FramePlaces(pfn=9, classes=FrameClass.SLAB, places=places)
    users = replace(facts.users, suspects=(one,))
    missing = {Need.AREAS: "Cannot access memory"}
    return replace(facts, users=users, areas=None, missing=missing)


def known() -> AuditReport:
    """Two findings of one rule, one of them accepted, in the second attempt."""
    facts = kernel_with(leaf(AREA, 0x5000, 1, RWX), leaf(AREA + 8 * PAGE, 0x5000, 1, RWX))
    place = addresses(Span(AREA, AREA + PAGE))
    return replace(report(facts, {"kernel-write-execute": {place}}), attempts=2)


FILES: dict[str, Callable[[], str]] = {
    "sound.txt": lambda: to_text(report(SOUND)),
    "pti.txt": lambda: to_text(report(PTI)),
    "broken.txt": lambda: to_text(report(broken())),
    "broken.json": lambda: report_to_json(report(broken())),
    "broken.xml": lambda: audit_to_junit(report(broken())),
    "known.txt": lambda: to_text(known()),
    "rules.txt": lambda: to_text(listed(CHECKS)),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(FILES)


@pytest.mark.parametrize("facts", [SOUND, PTI, broken()], ids=["sound", "pti", "broken"])
def test_json_is_as_the_schema_has_it(facts: AuditFacts) -> None:
    jsonschema.validate(
        json.loads(report_to_json(report(facts))), json.loads(SCHEMA.read_text(encoding="utf-8"))
    )


def test_junit_is_what_servers_read() -> None:
    root = parse(audit_to_junit(report(broken())))
    assert cases(root)["pageproof audit/kernel-write-execute"] == "failure"


def test_what_is_not_shown_is_counted() -> None:
    whole = report(broken())
    found = [
        replace(one, findings=60) if one.rule == "kernel-write-execute" else one
        for one in whole.outcomes
    ]
    assert "and 59 more of kernel-write-execute" in to_text(replace(whole, outcomes=tuple(found)))
