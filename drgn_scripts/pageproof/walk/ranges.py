# SPDX-License-Identifier: GPL-2.0-or-later
"""Walking a range: every entry in it, once, in order of address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pageproof.arch import Paging
from pageproof.model import EntryKind, MemoryGap, Outcome, Permissions, Range
from pageproof.space.units import ADDRESS_LAST
from pageproof.walk.walker import EVERY_RIGHT, ReadPhysical, read_entry, without_access


class TooMuchWork(Exception):
    """The limit of entries was reached. The ranges before it are correct."""


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
    """Yield the meaning of every entry between two addresses, both inclusive.

    Nothing is merged. A table that is reached a second time at the same level is reported as shared
    with its first place and not walked again: KASAN's shadow and espfix share one table thousands
    of times, and a table may point at itself. Non-canonical addresses are skipped.

    Raises:
        ValueError: first is after last, or one is not a 64-bit number.
        TooMuchWork: there are more than max_entries entries.
    """
    check_range(first, last)
    state = _State(read_physical, paging, first, last, max_entries)
    for offset in paging.top_offsets():
        yield from _walk_table(state, 0, paging.root_address(root), offset, EVERY_RIGHT)


def check_range(first: int, last: int) -> None:
    """Raise ValueError if two addresses are not a range."""
    if not 0 <= first <= last <= ADDRESS_LAST:
        raise ValueError(f"{first:#x} to {last:#x} is not a range of addresses")


def _walk_table(
    state: _State, depth: int, table: int, base: int, above: Permissions
) -> Iterator[Range]:
    paging = state.paging
    level = paging.tables[depth]
    shift, size, lower_last = level.shift, level.bytes, paging.lower_half_last
    origin = paging.canonical(base)
    missing_to = -1
    for index in range(level.entries):
        # Only the topmost table may have entries of both halves.
        start = origin + (index << shift) if depth else paging.canonical(base + (index << shift))
        last = start + size - 1
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
            # The rest of the table is missing too. Of the topmost table it is the rest of this
            # half, because no table maps the hole between the halves.
            missing_to = origin + size * level.entries - 1
            if not depth:
                missing_to = lower_last if start <= lower_last else ADDRESS_LAST
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
        entry = paging.decode(raw, level, upper=start > lower_last)
        if entry.base is None:
            outcome = Outcome(entry.kind.value)
            yield Range(start, stop, level.number, outcome, None, None, detail=where)
            continue
        is_table = entry.kind is EntryKind.TABLE
        permissions = paging.rights(raw, above, table=is_table)
        if not is_table:
            mapped = entry.kind is EntryKind.LEAF
            if not mapped:
                permissions = without_access(permissions)
            yield Range(
                start,
                stop,
                level.number,
                Outcome.MAPPED if mapped else Outcome(entry.kind.value),
                entry.base + (start & size - 1),
                permissions,
                memory_type=paging.memory_type(raw, level),
            )
            continue
        whole = last - start + 1 == size and stop == last
        key = (depth + 1, entry.base)
        first_place = state.seen.get(key, start)
        if whole:
            # Only a table that was walked whole can be shared.
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
        yield from _walk_table(state, depth + 1, entry.base, base + (index << shift), permissions)
