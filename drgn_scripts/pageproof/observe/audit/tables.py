# SPDX-License-Identifier: GPL-2.0-or-later
"""``audit``: page tables that several upper entries lead to, on a live target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from pageproof.find.process.mappings import MappingKey, key_of
from pageproof.model import MappingFacts
from pageproof.model.auditfacts import UserSpace, UserTable
from pageproof.walk import Walker

#: A use of a table: number of the address space, None for the kernel's half.
_Place = tuple[int | None, UserTable]


def used_at_once(
    walker: Walker,
    kernel: tuple[int, Sequence[UserTable]],
    users: Sequence[tuple[MappingFacts, UserSpace]],
    current: Callable[[], Collection[MappingKey]],
) -> tuple[tuple[UserTable, ...], tuple[UserSpace, ...]]:
    """Drop uses of tables that are in several places, but not at the same time.

    Address spaces are swept one after the other. A process may exit after its sweep, and one that
    is swept later may get its tables. Tables of a process that has exited are also other memory:
    the root may be that of a new process.

    Args:
        walker: of the target.
        kernel: the root of the kernel's tables, and the tables of its half.
        users: address spaces as they were swept.
        current: returns the address spaces that there are now.

    Returns:
        The kernel's tables and the address spaces, in the same order.
    """
    root, tables = kernel
    places: dict[int, list[_Place]] = {}
    for one in tables:
        places.setdefault(one.table, []).append((None, one))
    for number, (_, space) in enumerate(users):
        for one in space.tables:
            places.setdefault(one.table, []).append((number, one))
    doubtful = [several for several in places.values() if len(several) > 1]
    now = current() if doubtful else ()
    roots: dict[int | None, int] = {None: root}
    roots |= {
        number: mapping.root for number, (mapping, _) in enumerate(users) if key_of(mapping) in now
    }

    def leads(place: _Place) -> bool:
        number, one = place
        if number not in roots:
            return False
        steps = walker.walk(roots[number], one.address).steps
        return any(step.base == one.table for step in steps)

    gone: dict[int | None, set[UserTable]] = {}
    for several in doubtful:
        there = several
        for _ in range(2):  # what leads there in both rounds did so while the others were walked
            there = [place for place in there if leads(place)]
        for place in several:
            if place not in there:
                gone.setdefault(place[0], set()).add(place[1])

    def kept(number: int | None, some: Sequence[UserTable]) -> tuple[UserTable, ...]:
        return tuple(one for one in some if one not in gone[number])

    spaces = (
        replace(space, tables=kept(number, space.tables)) if number in gone else space
        for number, (_, space) in enumerate(users)
    )
    return kept(None, tables) if None in gone else tuple(tables), tuple(spaces)
