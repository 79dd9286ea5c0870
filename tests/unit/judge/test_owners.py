# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose a frame of vmalloc space is: what rules and texts make of it, and which modules are kin."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.auditfacts import SOUND, suspect, users_with
from unit.commandfacts import alias_report
from unit.facts import PAGE
from unit.judge.test_audit_rules import STACK, STRANGERS

from pageproof.arch.x86_64 import X86_64
from pageproof.find.kernel import areaowners
from pageproof.judge.alias import alias_findings
from pageproof.judge.audit import CHECKS
from pageproof.judge.audit.engine import run_check
from pageproof.judge.owners import area_words, stack_shown
from pageproof.model import AreaOwner, OwnerKind
from pageproof.model.auditfacts import AuditFacts, FramePlaces
from pageproof.observe.audit.frames import is_odd
from pageproof.render import phrases
from pageproof.render.where import where_words

ALIAS = alias_report().users[0]


def only(facts: AuditFacts) -> FramePlaces:
    assert facts.users is not None
    (one,) = facts.users.suspects
    return one


@pytest.mark.parametrize(
    ("facts", "odd"),
    [
        ({"area": STACK}, True),
        ({"area": STRANGERS}, True),
        ({"stranger": "the page cache"}, True),
        ({"area": replace(STRANGERS, related=None)}, False),
        ({"area": STACK, "places": ()}, False),
        ({"area": STRANGERS, "places": ()}, False),
        ({"stranger": "the page cache", "places": ()}, False),
        ({}, False),
    ],
)
def test_which_frames_are_kept(facts: dict[str, object], odd: bool) -> None:
    assert is_odd(X86_64, only(suspect(**facts))) is odd


def test_a_broken_free_list_is_a_doubt_of_one_rule() -> None:
    """Of the rule about free frames, and of no other."""
    doubtful = users_with(free_doubt="a list is broken")
    undecided = {
        check.rule.id: run_check(check, doubtful).judged.undecided
        for check in CHECKS
        if run_check(check, doubtful).judged.undecided != run_check(check, SOUND).judged.undecided
    }
    assert undecided == {"frame-is-free": "a list is broken"}


def test_alias_names_the_task_of_a_stack() -> None:
    (found,) = (
        one for one in alias_findings(X86_64, 7, PAGE, None, [ALIAS], STACK) if one.evidence
    )
    assert (found.id, found.evidence) == ("user-maps-stack", stack_shown(STACK))
    assert where_words(found.where) == "PFN 0x7"
    kernels_own = [replace(ALIAS, region="physmap")]
    for area, aliases in ((STRANGERS, [ALIAS]), (None, [ALIAS]), (STACK, kernels_own)):
        ids = {one.id for one in alias_findings(X86_64, 7, PAGE, None, aliases, area)}
        assert "user-maps-stack" not in ids


def test_evidence() -> None:
    start = f"0x{STACK.start:x}"
    assert stack_shown(STACK) == (("task", "12 (other)"), ("stack", start))
    assert area_words(STRANGERS) == f"vmalloc area {start} of f+0x1, module theirs"


@pytest.mark.parametrize(
    ("area", "text"),
    [
        (STACK, "kernel stack of task 12 (other), {}"),
        (replace(STACK, kind=OwnerKind.PER_CPU), "per-CPU memory, {}"),
        (replace(STRANGERS, kind=OwnerKind.MODULE), "module theirs, {}"),
        (STRANGERS, "memory of a vmalloc area, {}, caller f+0x1 of module theirs"),
        (
            replace(STRANGERS, owns=False, module="", caller=""),
            "mapped by a vmalloc area, {}, caller unknown",
        ),
    ],
)
def test_phrases(area: AreaOwner, text: str) -> None:
    place = f"{area.start:016x}+0x1000"
    assert phrases.area(replace(area, address=area.start + 0x1000)) == text.format(place)


@pytest.mark.parametrize(
    ("one", "other", "related"),
    [
        ("a", "a", True),
        ("a", "b", True),  # both use lib
        ("a", "lib", True),
        ("a", "c", False),
        ("a", "", None),
        ("", "c", None),
    ],
)
def test_modules_that_use_each_other(
    monkeypatch: pytest.MonkeyPatch, one: str, other: str, related: bool | None
) -> None:
    uses = [("a", "lib"), ("b", "lib"), ("c", "elsewhere")]
    monkeypatch.setattr(areaowners, "_uses", lambda prog: iter(uses))
    assert areaowners.are_related(None, one, other) is related


def test_without_a_list_of_users_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(prog: object) -> object:
        raise AttributeError("struct module has no member source_list")

    monkeypatch.setattr(areaowners, "_uses", none)
    assert areaowners.are_related(None, "a", "c") is None
