# SPDX-License-Identifier: GPL-2.0-or-later
"""One condition, shown to each command that can see it: one id, one severity.

Each condition of the list is made of facts by hand for several commands. A second id for it, or
another severity, fails here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from unit.auditfacts import AREA, RWX, USER, kernel_with, leaf, suspect, users_with
from unit.commandfacts import alias_report
from unit.facts import CORE, PAGE, evidence, kernel_walk, mapping, user_walk
from unit.judge.test_audit_rules import OBJECT, STACK, STRANGERS
from unit.layouts import FOUR

from pageproof.arch.x86_64 import X86_64
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.arch.x86_64.rows import memory_map
from pageproof.errors import Exit
from pageproof.judge.alias import alias_findings
from pageproof.judge.audit import CHECKS
from pageproof.judge.audit.engine import run_check
from pageproof.judge.catalogue import CATALOGUE
from pageproof.judge.conditions import exit_of
from pageproof.judge.kmap import map_findings
from pageproof.judge.rules import PageView, page_findings
from pageproof.judge.tasks import task_findings
from pageproof.model import (
    Finding,
    MemoryType,
    PageEvidence,
    Permissions,
    Severity,
    SlabState,
    StructPageFacts,
    TaskFault,
)
from pageproof.model.auditfacts import AuditFacts, FrameClass, UserTable
from pageproof.model.kmap import Contents
from pageproof.model.where import NOWHERE

ALIAS = alias_report().users[0]


def verify(one: PageEvidence) -> Sequence[Finding]:
    return tuple(page_findings(PageView(one, CORE, mapping()), NOWHERE))


def audit(facts: AuditFacts) -> Sequence[Finding]:
    return [one for check in CHECKS for one in run_check(check, facts).judged.findings]


def kmap(region: str, **sums: int) -> Sequence[Finding]:
    (row,) = (row for row in memory_map(FOUR) if row.region == region)
    return map_findings([replace(row, contents=Contents("init_mm", **sums))])


def alias(page: StructPageFacts, mapcount: int | None, *types: MemoryType) -> Sequence[Finding]:
    kinds = types or (X86MemoryType.WB,)
    aliases = [replace(ALIAS, counted=True, memory_type=kind) for kind in kinds]
    return tuple(alias_findings(X86_64, 7, page, mapcount, aliases))


def typed(words: str, *, buddy: bool = False) -> StructPageFacts:
    return replace(PAGE, type_words=words, mapcount=None, buddy=buddy)


OPEN = replace(kernel_walk(), permissions=Permissions(True, False, True))
UNCACHED = replace(user_walk(), memory_type=X86MemoryType.UC)
FREED = replace(OBJECT, state=SlabState.FREE)
SMALL = replace(OBJECT, object_bytes=64, slot_bytes=64)
SLAB = {"classes": FrameClass.SLAB, "counted": 0}
ONE = replace(PAGE, mapcount=0, head=PAGE.page, compound=False, refcount=9)
PLAIN = replace(user_walk().steps[-1], entry=user_walk().steps[-1].entry & ~(1 << 9))
COUNTED = replace(user_walk(), steps=(*user_walk().steps[:-1], PLAIN))

#: Each with what several commands say where it is so.
CONDITIONS: dict[str, tuple[Sequence[Finding], ...]] = {
    "kernel-write-execute": (
        kmap("modules", mapped_4k_bytes=4096, write_execute_bytes=4096),
        audit(kernel_with(leaf(AREA, 0x5000, 1, RWX))),
    ),
    "kernel-open-to-user": (
        kmap("vmalloc", mapped_4k_bytes=4096, user_bytes=4096),
        audit(kernel_with(leaf(AREA, 0x5000, 1, USER))),
        verify(evidence(kernel=OPEN)),
    ),
    "table-used-twice": (
        kmap("vmalloc", shared_entries=1, shared_bytes=4096),
        audit(users_with(kernel_tables=(UserTable(0x1_2000, 1, AREA),))),
    ),
    "memory-type-conflict": (
        verify(evidence(user=UNCACHED)),
        verify(
            replace(
                evidence(),
                physmap_walk=replace(kernel_walk(), memory_type=X86MemoryType.UC),
            )
        ),
        audit(suspect(types=(("a", X86MemoryType.UC), ("b", X86MemoryType.WB)))),
        alias(ONE, 2, X86MemoryType.UC, X86MemoryType.WB),
    ),
    "frame-is-free": (
        verify(replace(evidence(), page=typed("buddy", buddy=True))),
        audit(suspect(classes=FrameClass.FREE)),
        alias(typed("buddy", buddy=True), None),
    ),
    "user-maps-table": (
        verify(replace(evidence(), page=typed("table"))),
        audit(suspect(classes=FrameClass.TABLE)),
        alias(typed("table"), None),
    ),
    "frame-is-others": (
        verify(replace(evidence(), area=STRANGERS)),
        audit(suspect(area=STRANGERS)),
    ),
    "user-maps-stack": (
        verify(replace(evidence(), area=STACK)),
        audit(suspect(area=STACK)),
        tuple(alias_findings(X86_64, 7, ONE, 1, [replace(ALIAS, counted=True)], STACK)),
    ),
    "user-maps-slab": (
        audit(suspect(classes=FrameClass.SLAB)),
        alias(typed("slab"), None),
    ),
    "shares-slab-page": (
        verify(replace(evidence(), page=typed("slab"), slab=SMALL)),
        audit(suspect(**SLAB, slab=SMALL)),
    ),
    "object-is-free": (
        verify(replace(evidence(), page=typed("slab"), slab=FREED)),
        audit(suspect(**SLAB, slab=FREED)),
    ),
    "mapcount-wrong": (
        verify(replace(evidence(user=COUNTED), page=ONE)),
        audit(suspect(counted=1, mapcount=0)),
        alias(ONE, 0),
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_one_condition_has_one_id_and_one_severity(name: str) -> None:
    for findings in CONDITIONS[name]:
        serious = {(one.id, one.severity) for one in findings if one.severity is not Severity.NOTE}
        assert serious == {(name, Severity.ERROR)}


@pytest.mark.parametrize(
    ("severities", "undecided", "expected"),
    [
        ((), False, Exit.SOUND),
        ((), True, Exit.UNDECIDED),
        ((Severity.NOTE, Severity.WARNING), False, Exit.SOUND),
        ((Severity.WARNING,), True, Exit.UNDECIDED),
        ((Severity.NOTE, Severity.ERROR), False, Exit.WRONG),
        ((Severity.ERROR,), True, Exit.WRONG),
    ],
)
def test_the_exit_code_of_findings(
    severities: tuple[Severity, ...], undecided: bool, expected: Exit
) -> None:
    (one,) = kmap("vmalloc", mapped_4k_bytes=4096, user_bytes=4096)
    found = [replace(one, severity=severity) for severity in severities]
    assert exit_of(found, undecided=undecided) is expected


def test_the_list_is_whole() -> None:
    """Rules of several commands; those of what could not be looked at are made by one function."""
    (fault,) = task_findings([TaskFault(7, "x", "lost")])
    several = {
        rule.id
        for command, rules in CATALOGUE.items()
        for rule in rules
        if any(rule in others for name, others in CATALOGUE.items() if name != command)
    }
    assert several == {*CONDITIONS, fault.id, "region-unreadable", "region-part-unknown"}
