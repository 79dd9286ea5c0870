# SPDX-License-Identifier: GPL-2.0-or-later
"""The bug lab, live: each bug is real, verify finds it, and its twin is sound."""

import pytest
from attached import attached
from bugchecks import check_bug, check_nothing_else, check_slots, each_bug
from buglab import BUGS, NOT_MADE, SAME, Bug, every_finding, kernel_frame, verdicts
from bugoracle import CHECKS
from plugins.bugs import SLOTS, Bugged, Results, each_bugged_kernel, each_bugged_kernel_at_length

from pageproof.judge.rules import RULES


@pytest.fixture(scope="session")
def real_bugs(bugged: Bugged) -> dict[str, bool]:
    return bugged.real_bugs()


def test_the_table_is_complete() -> None:
    """Each bug has its own check; each rule has a bug, or a reason why it has none."""
    assert [bug.name for bug in BUGS] == list(CHECKS)
    found = {rule for bug in BUGS for rule in bug.rules | bug.also}
    found |= {slot.rule for slot in SLOTS.values()}
    assert {rule.id for rule in RULES} - found == set(NOT_MADE)


@each_bugged_kernel
def test_what_is_made_is_what_is_listed(bugged: Bugged) -> None:
    """Each has a twin, or is refused for the reason in the table."""
    kernel = bugged.machine.setup.kernel
    made = {bug.name for bug in BUGS if kernel not in bug.cannot}
    assert {name for name, sound in bugged.cases if not sound} == made
    assert {name for name, sound in bugged.cases if sound} == {bug.name for bug in BUGS}
    assert bugged.refused == {
        bug.name: "Operation not supported" for bug in BUGS if kernel in bug.cannot
    }


@each_bugged_kernel
@each_bug
def test_a_bug_is_what_it_claims_to_be(
    bugged: Bugged, real_bugs: dict[str, bool], bug: Bug
) -> None:
    """Checked by the kernel's own walks and counts, not by pageproof."""
    if bug.name in bugged.refused:
        assert bug.name not in real_bugs
        return
    made = bugged.cases[bug.name, False]
    assert verdicts(made) == bug.verdicts
    assert real_bugs[bug.name]


@each_bugged_kernel
@each_bug
def test_a_twin_is_sound(bugged: Bugged, bug: Bug) -> None:
    """By the kernel's own walks it has the region's frames, and pagemap agrees."""
    twin = bugged.cases[bug.name, True]
    assert verdicts(twin) == bug.twin == (SAME,) * len(bug.twin)
    assert [kernel_frame(twin, page) for page in range(len(twin.region))] == twin.region
    if "pf" not in twin.vm_flags:  # pagemap omits PFNMAP VMAs
        assert twin.facts["pagemap"] == twin.frames


@each_bugged_kernel
@each_bug
def test_from_outside(outside: Results, bugged: Bugged, bug: Bug) -> None:
    check_bug(outside, bugged, bug)


@each_bugged_kernel
def test_nothing_else_from_outside(outside: Results, bugged: Bugged) -> None:
    check_nothing_else(outside, bugged)


@each_bugged_kernel
def test_a_process_s_own_page_is_not_somebody_else_s(bugged: Bugged) -> None:
    """Anonymous memory that a driver has pinned and mapped, also by its physmap address."""
    own = bugged.own
    with attached(bugged.machine) as view:
        physmap = hex(view.paging.page_offset_base + own["pfn"] * 4096)
    for kernel in (hex(own["kernel"]), physmap):
        words = ("--pid", str(own["pid"]), "--user", hex(own["address"]), "--kernel", kernel)
        result = bugged.machine.outside("verify", *words, "--format", "json")
        assert result.code == 0, result.err + result.out
        assert [one["verdict"] for one in result.report["proofs"]] == [SAME]
        assert [one["id"] for one in every_finding(result.report)] == []


@each_bugged_kernel
def test_slots_from_outside(outside: Results) -> None:
    check_slots(outside)


@each_bugged_kernel_at_length
@each_bug
def test_inside(inside: Results, bugged: Bugged, bug: Bug) -> None:
    check_bug(inside, bugged, bug)


@each_bugged_kernel_at_length
def test_nothing_else_inside(inside: Results, bugged: Bugged) -> None:
    check_nothing_else(inside, bugged)


@each_bugged_kernel_at_length
def test_slots_inside(inside: Results) -> None:
    check_slots(inside)
