# SPDX-License-Identifier: GPL-2.0-or-later
"""Ranges and VMAs brought together: what is resident where, and what goes on in one run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.commandfacts import HEAP, LARGE, RW_USER, SMALL, empty, leaf, line, maps_report

from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.arch.x86_64.paging import X86Paging
from pageproof.find.process.maps import permission_letters
from pageproof.model import Amount, MappedRun, Outcome, Range
from pageproof.observe.residency import counted_runs, has_gaps, merge, spread, with_mapcounts

GIANT = 1 << 30

# Runs


FORM = X86Paging(levels=4)


def runs(*ranges: Range) -> list[tuple[int, int, int | None]]:
    return [(run.start, run.last, run.frame) for run in merge(FORM, ranges)]


def test_a_run_goes_on_in_virtual_and_in_physical_memory() -> None:
    assert runs(leaf(0x1000, 0), leaf(0x2000, 0x1000)) == [(0x1000, 0x2FFF, 0)]


@pytest.mark.parametrize(
    "second",
    [
        leaf(0x3000, 0x9000),  # a hole before it
        leaf(0x2000, 0xA000),  # another frame
        leaf(0x2000, 0x9000, permissions=replace(RW_USER, write=False)),
        replace(leaf(0x2000, 0x9000), memory_type=X86MemoryType.WC),
        replace(leaf(0x2000, 0x9000), outcome=Outcome.PROT_NONE),
        replace(leaf(0x2000, 0x9000), level=2),
    ],
)
def test_a_run_ends(second: Range) -> None:
    assert len(runs(leaf(0x1000, 0x8000), second)) == 2


def test_entries_without_a_frame_make_runs_and_empty_ones_none() -> None:
    swapped = [empty(at, at + 0xFFF, Outcome.SWAP) for at in (0x1000, 0x2000)]
    assert runs(*swapped, empty(0x3000, 0x3FFF), leaf(0x4000, 0)) == [
        (0x1000, 0x2FFF, None),
        (0x4000, 0x4FFF, 0),
    ]


# VMAs


def test_leaves_are_counted_by_their_size() -> None:
    heap, region, stack = maps_report().vmas
    assert (heap.resident_4k_bytes, heap.resident_2m_bytes) == (2 * SMALL, LARGE)
    assert heap.other == (Amount(Outcome.SWAP, SMALL),)
    assert heap.memory_types == (X86MemoryType.WB,)
    assert region.resident_4k_bytes == SMALL
    assert (stack.resident_4k_bytes, stack.runs) == (0, ())


def test_a_leaf_over_the_edge_of_two_vmas_is_cut() -> None:
    edge = HEAP + 3 * SMALL
    found = spread(
        FORM, [line(HEAP, edge), line(edge, HEAP + LARGE)], [leaf(HEAP, 0x4000_0000, level=2)]
    )
    first, second = found.vmas
    assert first.resident_2m_bytes == 3 * SMALL
    assert second.resident_2m_bytes == LARGE - 3 * SMALL
    assert second.runs[0].frame == 0x4000_0000 + 3 * SMALL
    assert found.outside == ()


def test_what_no_vma_covers_is_outside() -> None:
    ranges = [
        leaf(0, 0x1000),
        leaf(HEAP - SMALL, 0),
        leaf(HEAP, 0x1000),
        leaf(HEAP + SMALL, 0x2000),
    ]
    found = spread(FORM, [line(HEAP, HEAP + SMALL)], ranges)
    assert [run.start for run in found.outside] == [0, HEAP - SMALL, HEAP + SMALL]
    assert found.vmas[0].resident_4k_bytes == SMALL


def test_a_range_over_several_vmas_and_the_holes_between() -> None:
    lines = [line(0x2000, 0x3000), line(0x5000, 0x6000)]
    found = spread(FORM, lines, [empty(0, 0xFFFF, Outcome.EXCLUDED)])
    assert [vma.other for vma in found.vmas] == [(Amount(Outcome.EXCLUDED, SMALL),)] * 2
    assert [(run.start, run.last) for run in found.outside] == [
        (0, 0x1FFF),
        (0x3000, 0x4FFF),
        (0x6000, 0xFFFF),
    ]
    assert has_gaps(found)


def test_a_hole_is_no_gap() -> None:
    assert not has_gaps(spread(FORM, [line(0, 0x4000)], [empty(0, 0x3FFF), leaf(0x4000, 0)]))


def test_all_sizes_and_each_outcome_are_summed_up() -> None:
    giant = Range(0, GIANT - 1, 3, Outcome.MAPPED, 0, RW_USER, memory_type=X86MemoryType.UC)
    swap, poison = Outcome.SWAP, Outcome.HWPOISON
    ranges = [
        giant,
        replace(leaf(GIANT, 0), memory_type=None),
        empty(GIANT + SMALL, GIANT + 2 * SMALL - 1, swap),
        empty(GIANT + 2 * SMALL, GIANT + 3 * SMALL - 1, poison),
        empty(GIANT + 3 * SMALL, GIANT + 5 * SMALL - 1, swap),
        leaf(GIANT + 5 * SMALL, 0x3000),
    ]
    (vma,) = spread(FORM, [line(0, 2 * GIANT)], ranges).vmas
    sizes = vma.resident_1g_bytes, vma.resident_2m_bytes, vma.resident_4k_bytes
    assert sizes == (GIANT, 0, 2 * SMALL)
    assert vma.other == (Amount(swap, 3 * SMALL), Amount(poison, SMALL))
    assert vma.memory_types == (X86MemoryType.UC, X86MemoryType.WB)


def test_a_range_ends_where_the_vma_does() -> None:
    lines = [line(0x1000, 0x3000), line(0x3000, 0x4000)]
    found = spread(FORM, lines, [empty(0x1000, 0x2FFF, Outcome.SWAP), leaf(0x3000, 0)])
    assert [(run.start, run.last) for vma in found.vmas for run in vma.runs] == [
        (0x1000, 0x2FFF),
        (0x3000, 0x3FFF),
    ]
    assert found.outside == ()


# Shared and private


def test_mapcounts_say_what_is_shared() -> None:
    vma = spread(FORM, [line(HEAP, HEAP + LARGE)], [leaf(HEAP, 0x1000)]).vmas[0]
    counted = with_mapcounts(vma, (1, 1, 2, 7, 3, 0, -127))
    assert (counted.private_bytes, counted.shared_bytes) == (2 * SMALL, 3 * SMALL)


def test_only_small_leaves_that_the_kernel_counts_are_asked_for() -> None:
    heap, region, _ = maps_report().vmas
    assert [run.start for run in counted_runs(heap)] == [HEAP + LARGE]
    assert list(counted_runs(region)) == []  # PFNMAP


# Letters


@pytest.mark.parametrize(
    ("vm_flags", "letters"),
    [(0, "---p"), (1, "r--p"), (3, "rw-p"), (5, "r-xp"), (0x80, "---s"), (0x8, "---p")],
)
def test_permission_letters(vm_flags: int, letters: str) -> None:
    assert permission_letters(vm_flags) == letters


def test_a_run_is_what_the_schema_says() -> None:
    (run,) = merge(FORM, [leaf(0x1000, 0)])
    assert run == MappedRun(0x1000, 0x1FFF, SMALL, Outcome.MAPPED, 0, RW_USER, X86MemoryType.WB)
