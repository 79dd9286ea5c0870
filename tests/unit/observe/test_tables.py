# SPDX-License-Identifier: GPL-2.0-or-later
"""A page table that was seen in two processes, while one exited and the other got it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from unit.facts import mapping
from unit.tables import TABLE, Tables

from pageproof.arch.x86_64.paging import X86Paging
from pageproof.find.process.mappings import key_of
from pageproof.model.auditfacts import UserSpace, UserTable, VmaTable
from pageproof.model.where import Space
from pageproof.observe.audit.tables import used_at_once
from pageproof.walk import make_walker

FIRST, SECOND, KERNEL = 0x1000, 0x2000, 0x3000  # roots
TWICE = UserTable(0x5000, 3, 0)
OTHER = UserTable(0x6000, 2, 0)
BOTH = {FIRST: TWICE.table | TABLE, SECOND: TWICE.table | TABLE, TWICE.table: OTHER.table | TABLE}
ONE = replace(mapping(), pid=1, mm=0x100, root=FIRST, vma=None)
TWO = replace(mapping(), pid=2, mm=0x200, root=SECOND, vma=None)


def space(pid: int) -> UserSpace:
    return UserSpace(Space(pid, "a"), VmaTable(), (), (TWICE, OTHER))


def kept(
    entries: dict[int, int],
    read: Callable[[int, int], bytes] | None = None,
    *,
    alive: tuple[int, ...] = (1, 2),
) -> list[tuple[UserTable, ...]]:
    """Return the tables that stay of both processes, of which each was seen with both tables."""
    walker = make_walker(read or Tables(entries).read, X86Paging(levels=4))
    users = ((ONE, space(1)), (TWO, space(2)))
    now = {key_of(one) for one in (ONE, TWO) if one.pid in alive}
    _, found = used_at_once(walker, (KERNEL, ()), users, lambda: now)
    assert [one.name.pid for one in found] == [1, 2]
    return [one.tables for one in found]


def test_in_both_places_at_once() -> None:
    assert kept(BOTH) == [(TWICE, OTHER)] * 2


def test_gone_from_one_of_them() -> None:
    assert kept({**BOTH, FIRST: 0}) == [(), (TWICE, OTHER)]
    assert kept(BOTH, alive=(2,)) == [(), (TWICE, OTHER)]


def test_first_in_one_place_then_in_the_other() -> None:
    """The first process has the table until the second one has been walked for the first time."""
    walks = 0

    def read(paddr: int, length: int) -> bytes:
        nonlocal walks
        walks += paddr == SECOND
        return Tables({**BOTH, FIRST: 0} if walks else BOTH).read(paddr, length)

    assert kept({}, read) == [(), (TWICE, OTHER)]


@pytest.mark.parametrize("stays", [True, False])
def test_with_the_kernel(stays: bool) -> None:
    top = UserTable(TWICE.table, 3, 0xFFFF_8000_0000_0000)
    entries = {**BOTH, KERNEL + 8 * 256: TWICE.table | TABLE if stays else 0}
    walker = make_walker(Tables(entries).read, X86Paging(levels=4))
    users = ((ONE, space(1)),)
    tables, (found,) = used_at_once(walker, (KERNEL, (top,)), users, lambda: {key_of(ONE)})
    assert (tables, found.tables) == ((top,) if stays else (), (TWICE, OTHER))


def test_without_doubt_processes_are_not_listed_again() -> None:
    walker = make_walker(Tables(BOTH).read, X86Paging(levels=4))
    _, (found,) = used_at_once(walker, (KERNEL, ()), ((ONE, space(1)),), pytest.fail)
    assert found.tables == (TWICE, OTHER)
