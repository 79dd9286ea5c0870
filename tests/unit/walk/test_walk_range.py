# SPDX-License-Identifier: GPL-2.0-or-later
"""Walking ranges: every entry once, in order, with bounded work."""

from __future__ import annotations

from itertools import pairwise

import pytest
from unit.tables import NX, PSE, RW, TABLE, P, Tables

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.model import Outcome, Range
from pageproof.walk import TooMuchWork, walk_range

FOUR = X86Paging(levels=4)
ROOT, T1, T2, T3 = 0x1000, 0x2000, 0x3000, 0x4000
PAGE, BIG = 0x1000, 0x20_0000
END = (1 << 64) - 1


def ranges(tables: Tables, first: int, last: int, **more: int) -> list[Range]:
    return list(walk_range(tables.read, ROOT, first, last, FOUR, **more))


def small() -> Tables:
    """Pages 0, 1 and 3 of the address space, and a 2 MiB leaf at 2 MiB."""
    return Tables(
        {
            ROOT: T1 | TABLE,  # PGD[0]
            T1: T2 | TABLE,  # PUD[0]
            T2: T3 | TABLE,  # PMD[0]
            T2 + 8: 0x4000_0000 | TABLE | PSE | NX,  # PMD[1]
            T3: 0x7000 | TABLE,  # PTE[0]
            T3 + 8: 0x9000 | P,  # PTE[1]
            T3 + 24: 0xA000 | TABLE & ~RW,  # PTE[3]
        }
    )


def test_entries_in_order() -> None:
    got = ranges(small(), 0, 4 * PAGE - 1)
    assert [(r.start, r.outcome, r.frame) for r in got] == [
        (0 * PAGE, Outcome.MAPPED, 0x7000),
        (1 * PAGE, Outcome.MAPPED, 0x9000),
        (2 * PAGE, Outcome.NONE, None),
        (3 * PAGE, Outcome.MAPPED, 0xA000),
    ]
    assert [r.permissions.write for r in got if r.permissions] == [True, False, False]


def test_a_range_may_start_and_end_inside_a_huge_leaf() -> None:
    (got,) = ranges(small(), BIG + 0x5123, BIG + 0x6FFF)
    assert (got.start, got.last) == (BIG + 0x5123, BIG + 0x6FFF)
    assert got.frame == 0x4000_5123
    assert got.permissions is not None
    assert not got.permissions.execute


def test_a_range_from_small_pages_into_a_huge_leaf() -> None:
    got = ranges(small(), BIG - PAGE, BIG + PAGE - 1)
    assert [(r.start, r.last, r.level) for r in got] == [
        (BIG - PAGE, BIG - 1, 1),
        (BIG, BIG + PAGE - 1, 2),
    ]


def test_the_whole_address_space_passes_over_the_hole_and_does_not_wrap() -> None:
    got = ranges(small(), 0, END)
    assert got[0].start == 0
    assert got[-1].last == END
    for before, after in pairwise(got):
        hole = (before.last, after.start) == (0x7FFF_FFFF_FFFF, 0xFFFF_8000_0000_0000)
        assert hole or after.start == before.last + 1


def test_a_range_inside_the_hole_is_empty() -> None:
    assert ranges(small(), 0x8000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF) == []


def test_a_shared_table_is_reported_and_walked_once() -> None:
    tables = small()
    tables.entries[T2 + 16] = T3 | TABLE  # PMD[2] -> the table of PMD[0]
    got = ranges(tables, 0, 3 * BIG - 1)
    shared = [r for r in got if r.shared_with is not None]
    assert [(r.start, r.last, r.shared_with) for r in shared] == [(2 * BIG, 3 * BIG - 1, 0)]
    assert len([r for r in got if r.level == 1]) == 512


def test_a_table_walked_in_part_does_not_stand_for_a_later_one() -> None:
    tables = small()
    tables.entries[T2 + 8] = T3 | TABLE  # PMD[1] -> the table of PMD[0]
    got = ranges(tables, 3 * PAGE, BIG + PAGE - 1)
    assert [r.frame for r in got if r.start in (3 * PAGE, BIG)] == [0xA000, 0x7000]


def test_one_table_shared_by_512_entries_is_not_512_times_the_work() -> None:
    tables = small()
    for index in range(512):
        tables.entries[T1 + index * 8] = T2 | TABLE  # PUD[*] -> one PMD table
        tables.entries[ROOT + index * 8] = T1 | TABLE  # PGD[*] -> one PUD table
    ranges(tables, 0, END)
    assert tables.reads <= 4 * 512


def test_a_table_that_points_at_itself_ends() -> None:
    tables = Tables({ROOT + index * 8: ROOT | TABLE for index in range(512)})
    got = ranges(tables, 0, END)
    assert tables.reads <= 4 * 512
    assert any(r.shared_with is not None for r in got)


def test_work_has_a_bound() -> None:
    with pytest.raises(TooMuchWork):
        ranges(small(), 0, END, max_entries=100)


def test_a_missing_table_is_one_range_and_the_walk_goes_on() -> None:
    tables = small()
    tables.missing = (T3,)
    got = ranges(tables, 0, BIG + PAGE - 1)
    assert [(r.start, r.last, r.outcome) for r in got] == [
        (0, BIG - 1, Outcome.EXCLUDED),
        (BIG, BIG + PAGE - 1, Outcome.MAPPED),
    ]


@pytest.mark.parametrize(("first", "last"), [(1, 0), (-1, 0), (0, 1 << 64)])
def test_what_is_no_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="not a range"):
        ranges(small(), first, last)


def test_a_missing_root_is_missing_in_each_half_but_not_between_them() -> None:
    tables = small()
    tables.missing = (ROOT,)
    got = ranges(tables, PAGE, END)
    assert [(r.start, r.last, r.outcome) for r in got] == [
        (PAGE, 0x7FFF_FFFF_FFFF, Outcome.EXCLUDED),
        (0xFFFF_8000_0000_0000, END, Outcome.EXCLUDED),
    ]
