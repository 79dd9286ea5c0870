# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about a VMA at their edges: one flag, one expectation, and what is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from unit.facts import mapping
from unit.judge.test_rules import EXPECT, NOTHING, SHARED, with_flags, without_operations

from pageproof import judge
from pageproof.judge import MappingView
from pageproof.judge.rules.mapping import MAPPING_RULES
from pageproof.model import MappingFacts, VmaFacts
from pageproof.model.asked import Expectation

BARE = "READ|SHARED|MAYREAD|MAYSHARE"
PFNMAP = f"{BARE}|PFNMAP"
NO_CHILD, READ_ONLY, NO_EXEC = (
    EXPECT[one] for one in (Expectation.NO_CHILD, Expectation.READ_ONLY, Expectation.NO_EXEC)
)
ALL = frozenset(Expectation)


def without_file() -> MappingFacts:
    one = mapping()
    assert one.vma is not None
    return replace(one, vma=replace(one.vma, file=None))


def ids(flags: str, expected: frozenset[Expectation], *, handed_on: bool = False) -> list[str]:
    view = MappingView(with_flags(flags), expected, handed_on=handed_on)
    return [one.id for one in judge.mapping_findings(view)]


@pytest.mark.parametrize(
    ("flags", "expected", "found"),
    [
        (BARE, ALL, ["may-be-inherited"]),
        (f"{BARE}|DONTCOPY", ALL, []),
        (f"{SHARED}|WRITE|EXEC", NOTHING, []),
        (f"{SHARED}|WRITE", READ_ONLY, ["writable-read-only"]),
        (f"{BARE}|WRITE", READ_ONLY, ["writable-read-only"]),
        (f"{BARE}|MAYWRITE", READ_ONLY, ["may-become-writable"]),
        (f"{BARE}|MAYWRITE", NO_EXEC | NO_CHILD, ["may-be-inherited"]),
        (f"{BARE}|WRITE", NO_EXEC, []),
        (f"{BARE}|MAYEXEC", NO_EXEC, ["may-become-executable"]),
        (f"{BARE}|MAYEXEC", READ_ONLY, []),
        (f"{BARE}|EXEC", NO_EXEC, []),
        (PFNMAP, NOTHING, ["pfnmap-flags"]),
        (f"{PFNMAP}|DONTDUMP", NOTHING, []),
        (f"{BARE}|MIXEDMAP", NOTHING, []),
    ],
)
def test_flags(flags: str, expected: frozenset[Expectation], found: list[str]) -> None:
    assert ids(flags, expected) == found


def test_a_child_that_has_the_mapping() -> None:
    assert ids(BARE, NO_CHILD, handed_on=True) == ["inherited"]
    assert ids(BARE, READ_ONLY | NO_EXEC, handed_on=True) == []
    assert ids(f"{BARE}|DONTCOPY", NO_CHILD, handed_on=True) == ["inherited"]


def test_what_is_freed_is_a_files() -> None:
    assert judge.mapping_findings(MappingView(without_file(), NOTHING, data_is_freed=True)) == ()


class Only:
    """An object with some attributes; the others of the real one must not be looked at."""

    def __init__(self, **known: object) -> None:
        self.__dict__.update(known)


@pytest.mark.parametrize("flags", [BARE, PFNMAP, f"{BARE}|MAYWRITE|MAYEXEC", f"{BARE}|WRITE"])
def test_rules_look_only_at_what_alike_has(flags: str) -> None:
    """verify judges VMAs that are alike once, so a rule must not depend on anything else."""
    file = Only(file=1, private_data=2)
    vma = Only(vm_flags_words=flags, gone=(("vm_ops", 1),), file=file)
    vma.__dict__["has_flag"] = lambda word: VmaFacts.has_flag(cast(VmaFacts, vma), word)
    mapping_ = cast(MappingFacts, Only(vma=vma))
    view = MappingView(mapping_, ALL, data_is_freed=True, lacking=(range(1),))
    assert len(cast(tuple[object, ...], view.alike)) == 7
    assert sum(check(view) is not None for _, check in MAPPING_RULES) > 3


@pytest.mark.parametrize(
    ("view", "evidence"),
    [
        (MappingView(without_operations(), NOTHING), (("vm_ops", "0xffffffffc0123000"),)),
        (
            MappingView(mapping(), NOTHING, data_is_freed=True),
            (("private_data", "0xffffffffc0124000"),),
        ),
        (MappingView(mapping(), NOTHING, lacking=(range(2, 4),)), (("lacking", "pages 2-3"),)),
        (
            MappingView(with_flags(PFNMAP), NOTHING),
            (("vm_flags", PFNMAP), ("missing", "IO|DONTEXPAND|DONTDUMP")),
        ),
        (
            MappingView(with_flags(f"{PFNMAP}|IO|DONTEXPAND"), NOTHING),
            (("vm_flags", f"{PFNMAP}|IO|DONTEXPAND"), ("missing", "DONTDUMP")),
        ),
        *(
            (MappingView(with_flags(flags), expected, handed_on=on), (("vm_flags", flags),))
            for flags, expected, on in (
                (BARE, NO_CHILD, True),
                (BARE, NO_CHILD, False),
                (f"{BARE}|WRITE", READ_ONLY, False),
                (f"{BARE}|MAYWRITE", READ_ONLY, False),
                (f"{BARE}|MAYEXEC", NO_EXEC, False),
            )
        ),
    ],
)
def test_what_is_shown(view: MappingView, evidence: tuple[tuple[str, str], ...]) -> None:
    (found,) = judge.mapping_findings(view)
    assert found.evidence == evidence
