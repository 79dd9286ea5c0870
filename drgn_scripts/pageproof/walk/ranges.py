# SPDX-License-Identifier: GPL-2.0-or-later
"""Walking a range: every entry that is in it, once, in order of address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pageproof.model import EntryKind, MemoryGap, Outcome, Permissions, Range
from pageproof.space.units import ADDRESS_LAST
from pageproof.walk.entry import decode_entry, memory_type
from pageproof.walk.walker import ReadPhysical, read_entry
from pageproof.walk.x86_64 import ENTRIES, NX, RW, US, Paging


class TooMuchWork(Exception):
    """The bound on the number of entries was reached; what came before is sound."""


@dataclass
class _State:
    read_physical: ReadPhysical
    paging: Paging
    first: int
    last: int
    entries_left: int
    #: (depth, table) -> virtual address of the table's first whole walk.
    seen: dict[tuple[int, int], int] = field(default_factory=dict)


def walk_range(
    read_physical: ReadPhysical,
    root: int,
    first: int,
    last: int,
    paging: Paging,
    *,
    max_entries: int = 1 << 24,
) -> Iterator[Range]:
    """Give what every entry between two addresses (both inclusive) means.

    Nothing is merged. A table that is reached a second time at the same level
    (KASAN's shadow and espfix share one thousands of times, and a table may
    point at itself) is reported as shared with its first place, not walked
    again, so that tables that point at themselves are bounded too.
    Non-canonical addresses are nobody's and are passed over.

    Raises:
        ValueError: first is after last, or one is no 64-bit number.
        TooMuchWork: more than max_entries entries would have to be read.
    """
    check_range(first, last)
    state = _State(read_physical, paging, first, last, max_entries)
    every = Permissions(write=True, execute=True, user=True)
    yield from _walk_table(state, 0, paging.address_of(root), 0, every)


def check_range(first: int, last: int) -> None:
    """Raise ValueError if two addresses are no range."""
    if not 0 <= first <= last <= ADDRESS_LAST:
        raise ValueError(f"{first:#x} to {last:#x} is no range of addresses")


def _sign_extend(address: int, paging: Paging) -> int:
    sign = paging.tables[0].shift + 8
    return address | ADDRESS_LAST >> sign << sign if address >> sign else address


def _walk_table(
    state: _State, depth: int, table: int, base: int, above: Permissions
) -> Iterator[Range]:
    paging = state.paging
    level = paging.tables[depth]
    missing_to = -1
    for index in range(ENTRIES):
        start = _sign_extend(base + (index << level.shift), paging)
        last = start + level.bytes - 1
        if last < state.first or last <= missing_to:
            continue
        if start > state.last:
            return
        if state.entries_left == 0:
            raise TooMuchWork(f"gave up at {start:#x}: too many entries")
        state.entries_left -= 1
        start, stop = max(start, state.first), min(last, state.last)
        where = f"{level.name} entry {index} of the table at {table:#x}"
        try:
            raw = read_entry(state.read_physical, table, index, level, paging)
        except MemoryGap as gap:
            # The table is missing, so that all the rest of it is missing too; of the
            # topmost the rest of this half, for the hole between the halves is nobody's.
            missing_to = _sign_extend(base, paging) + (level.bytes << 9) - 1
            if not depth:
                lower = index < ENTRIES // 2
                missing_to = (level.bytes << 8) - 1 if lower else ADDRESS_LAST
            yield Range(
                start,
                min(missing_to, state.last),
                level.number,
                gap.outcome,
                None,
                None,
                detail=f"{level.name} table at {table:#x}: {gap}",
            )
            continue
        entry = decode_entry(raw, level, paging, upper=bool(start >> 63))
        if entry.base is None:
            outcome = Outcome(entry.kind.value)
            yield Range(start, stop, level.number, outcome, None, None, detail=where)
            continue
        permissions = Permissions(
            write=above.write and bool(raw & RW),
            execute=above.execute and not raw & NX,
            user=above.user and bool(raw & US),
            access=entry.kind in (EntryKind.LEAF, EntryKind.TABLE),
        )
        if entry.kind is not EntryKind.TABLE:
            mapped = entry.kind is EntryKind.LEAF
            yield Range(
                start,
                stop,
                level.number,
                Outcome.MAPPED if mapped else Outcome(entry.kind.value),
                entry.base + (start & level.bytes - 1),
                permissions,
                memory_type=memory_type(raw, level, paging),
            )
            continue
        whole = last - start + 1 == level.bytes and stop == last
        key = (depth + 1, entry.base)
        first_place = state.seen.get(key, start)
        if whole:
            # Only a table that was walked whole can stand for a later one.
            state.seen.setdefault(key, start)
        if first_place != start:
            yield Range(
                start,
                stop,
                level.number,
                Outcome.MAPPED,
                None,
                permissions,
                shared_with=first_place,
                detail=f"{where} shares the table at {entry.base:#x}",
            )
            continue
        yield from _walk_table(
            state, depth + 1, entry.base, base + (index << level.shift), permissions
        )
