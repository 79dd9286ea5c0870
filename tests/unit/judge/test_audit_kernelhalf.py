# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules about the topmost tables and PTI, at their edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.auditfacts import (
    AREA,
    IMAGE_PADDR,
    LDT_ENTRY,
    PAGE,
    PHYSMAP,
    PTI,
    PTI_TOPS,
    RW,
    RWX,
    RX,
    SOUND,
    TEXT,
    R,
    leaf,
    table,
    top_table,
)
from unit.judge.test_audit_rules import ask, at, pti_with, tops
from unit.layouts import FIVE, FOUR

from pageproof.model import Outcome, Range
from pageproof.model.auditfacts import AuditFacts, TopTable
from pageproof.model.kmap import LayoutFacts
from pageproof.render.where import where_words

HALF = "pid 1 (init), user half"
SHARED_END = TEXT + 0x20_0000
TSS = PHYSMAP + 0x3000
#: PTI's entry has NX in the kernel's table of the pair, and each has its own ACCESSED bit.
NX, ACCESSED = 1 << 63, 1 << 5


def places(rule: str, facts: AuditFacts) -> list[str]:
    judged = ask(rule, facts)
    assert not judged.undecided
    return [where_words(one.where) for one in judged.findings]


def lost(space: str) -> TopTable:
    return top_table(space, (), "left out of the dump")


# The upper half


@pytest.mark.parametrize(
    ("index", "differs"), [(255, False), (256, True), (300, True), (510, True), (511, True)]
)
def test_the_upper_half_begins_in_the_middle(index: int, differs: bool) -> None:
    facts = tops(spaces=(table("pid 9 (odd)", {index: 0x77}),))
    assert places("kernel-half-differs", facts) == [f"pid 9 (odd), entry {index}"] * differs


def test_both_entries_are_shown() -> None:
    (found,) = ask("kernel-half-differs", tops(spaces=(table("x", {300: 0x77}),))).findings
    assert found.evidence == (("entry", "0x77"), ("expected", f"0x{0x2000 + 44:x}"))


@pytest.mark.parametrize(
    ("layout", "slot", "other"), [(FOUR, LDT_ENTRY, 272), (FIVE, 272, LDT_ENTRY)]
)
def test_the_ldts_slot_is_the_levels_own(layout: LayoutFacts, slot: int, other: int) -> None:
    """0xffff880000000000 is under entry 272 of 4 levels, 0xff10000000000000 under 272 of 5."""
    for index in {slot, other}:
        facts = replace(
            PTI,
            layout=layout,
            tops=replace(PTI_TOPS, spaces=(table("pid 1 (init)", {index: 0x55}),)),
        )
        wanted = [] if index == slot else [f"pid 1 (init), entry {index}"]
        assert places("kernel-half-differs", facts) == wanted


def test_without_pti_the_ldts_slot_is_like_any_other() -> None:
    facts = tops(spaces=(table("x", {LDT_ENTRY: 0x55}),))
    assert places("kernel-half-differs", facts) == [f"x, entry {LDT_ENTRY}"]


def test_tables_are_counted_whether_read_or_not() -> None:
    assert ask("kernel-half-differs", SOUND).checked == 2
    assert ask("kernel-half-differs", PTI).checked == 2
    judged = ask("kernel-half-differs", tops(spaces=(lost("x"), table("y", {300: 0x77}))))
    assert (judged.checked, [where_words(one.where) for one in judged.findings]) == (
        2,
        ["y, entry 300"],
    )
    assert judged.undecided == "x: left out of the dump"


def test_an_init_mm_that_was_not_read_makes_no_difference_and_no_pass() -> None:
    judged = ask("kernel-half-differs", tops(kernel=lost("init_mm")))
    assert (judged.findings, judged.undecided) == ((), "init_mm: left out of the dump")


def test_the_first_reasons_are_told() -> None:
    some = tuple(lost(f"pid {pid}") for pid in range(1, 6))
    judged = ask("kernel-half-differs", tops(spaces=some, faults=("a", "b", "c", "d")))
    told = judged.undecided.split("; ")
    assert told == [f"pid {pid}: left out of the dump" for pid in (1, 2, 3)] + ["a", "b", "c"]


# Pairs


def pair(kernel: dict[int, int], user: dict[int, int]) -> AuditFacts:
    made = replace(
        PTI_TOPS, spaces=(table("pid 1 (init)", kernel),), user_halves=(table(HALF, user),)
    )
    return replace(PTI, tops=made)


@pytest.mark.parametrize(
    ("kernel", "user", "differs"),
    [
        ({0: 0x77}, {0: 0x77}, []),
        ({0: 0x77 | NX}, {0: 0x77}, []),
        ({0: 0x77}, {0: 0x77 | ACCESSED}, []),
        ({0: 0x77}, {0: 0x73}, [0]),
        ({}, {255: 0x77}, [255]),
        ({255: 0x77}, {}, [255]),
        ({}, {256: 0x77}, []),
        ({0: 1, 7: 2}, {0: 2, 7: 1}, [0, 7]),
    ],
)
def test_a_pair_is_compared_in_the_user_half(
    kernel: dict[int, int], user: dict[int, int], differs: list[int]
) -> None:
    facts = pair(kernel, user)
    assert places("pti-pair-differs", facts) == [f"{HALF}, entry {index}" for index in differs]
    assert ask("pti-pair-differs", facts).checked == 1


def test_a_process_may_have_any_name() -> None:
    """prctl(PR_SET_NAME) takes commas too: such a process must not blind the rule."""
    name = "pid 7 (a, b)"
    spaces = (*PTI_TOPS.spaces, table(name, {3: 0x55}))
    halves = (*PTI_TOPS.user_halves, table(f"{name}, user half", {3: 0x66}))
    facts = replace(PTI, tops=replace(PTI_TOPS, spaces=spaces, user_halves=halves))
    assert places("pti-pair-differs", facts) == [f"{name}, user half, entry 3"]


@pytest.mark.parametrize("which", ["spaces", "user_halves"])
def test_half_a_pair_is_no_pass(which: str) -> None:
    name = "pid 1 (init)" if which == "spaces" else HALF
    facts = replace(PTI, tops=replace(PTI_TOPS, **{which: (lost(name),)}))  # type: ignore[arg-type]
    judged = ask("pti-pair-differs", facts)
    assert (judged.findings, judged.undecided) == ((), f"{name}: left out of the dump")


# What user mode's tables hold of the kernel


@pytest.mark.parametrize(
    ("one", "exposed"),
    [
        (leaf(SHARED_END - PAGE, IMAGE_PADDR, 1, RX), ""),
        (leaf(SHARED_END, IMAGE_PADDR, 1, RX), at(SHARED_END)),
        (leaf(SHARED_END - PAGE, IMAGE_PADDR, 2, RX), at(SHARED_END - PAGE, 2)),
        (leaf(TEXT - PAGE, IMAGE_PADDR, 1, RX), at(TEXT - PAGE)),
        (leaf(TEXT, IMAGE_PADDR, 1, RWX), at(TEXT)),
        (leaf(TSS + PAGE, 0x4000), at(TSS + PAGE)),
        (leaf(TSS - PAGE, 0x2000), at(TSS - PAGE)),
        (leaf(TSS, 0x3000, 2), at(TSS, 2)),
        (leaf(FOUR.espfix, 0x8000, 1, R), ""),
        (leaf(FOUR.ldt, 0x8000), ""),
        (leaf(0xFFFF_FFFF_FF60_0000, IMAGE_PADDR, 1, R), ""),
        (leaf(0xFFFF_FFFF_FF60_0000, IMAGE_PADDR, 1, RW), at(0xFFFF_FFFF_FF60_0000)),
        (leaf(AREA, 0x5000, 1, R), at(AREA)),
        (Range(AREA, AREA + PAGE - 1, 1, Outcome.SWAP, None, None), ""),
    ],
)
def test_what_user_mode_may_have_of_the_kernel(one: Range, exposed: str) -> None:
    assert places("pti-exposes-kernel", pti_with(one)) == ([exposed] if exposed else [])


def test_what_is_not_present_hides_nothing() -> None:
    swap = Range(AREA, AREA + PAGE - 1, 1, Outcome.SWAP, None, None)
    facts = replace(PTI, user_half=(swap, leaf(AREA + PAGE, 0x9000)))
    assert places("pti-exposes-kernel", facts) == [at(AREA + PAGE)]


def test_pages_that_adjoin_are_one_finding() -> None:
    facts = pti_with(leaf(AREA, 0x5000), leaf(AREA + PAGE, 0x9000, 1, R))
    assert places("pti-exposes-kernel", facts) == [at(AREA, 2)]
    assert ask("pti-exposes-kernel", facts).checked == 5


def test_how_much_of_each_is_told() -> None:
    more = (leaf(TEXT + 16 * PAGE, 0x7000, 4, R), leaf(AREA, 0x5000))
    judged = ask("pti-kernel-part", pti_with(*more))
    (note,) = judged.findings
    sizes = (("cpu-entry-area", "8 KiB"), ("cpu_tss_rw", "4 KiB"), ("text", "80 KiB"))
    assert (note.evidence, judged.checked) == (sizes, 3)
    assert ask("pti-kernel-part", SOUND) == replace(judged, checked=0, findings=())
