# SPDX-License-Identifier: GPL-2.0-or-later
"""Accounts of all frames: how each is mapped, how often, and through which tables.

The engine in C does it for millions of entries. This is the slow and obvious way, the oracle of
the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pageproof.arch import Paging
from pageproof.model import EntryKind, MemoryGap, Range
from pageproof.space.units import PAGE_SHIFT
from pageproof.walk.walker import ReadPhysical, read_entry

#: Bits of :attr:`Accounts.uses` beside ``1 << memory type``.
USE_SPECIAL: Final = 0x40
USE_NORMAL: Final = 0x80
_FULL: Final = 255


@dataclass
class Accounts:
    """Arrays by PFN, to which sweeps add.

    Attributes:
        uses: 1 << number in :attr:`Paging.memory_types` for each memory type that a mapping has,
            USE_NORMAL or USE_SPECIAL.
        counts: entries of the last level that map the frame, without special ones; up to 255.
    """

    uses: bytearray
    counts: bytearray

    @classmethod
    def empty(cls, frames: int) -> Accounts:
        """Return accounts of frames that are mapped nowhere.

        Args:
            frames: the number of frames.
        """
        return cls(bytearray(frames), bytearray(frames))


@dataclass(frozen=True)
class TableUse:
    """An entry that points at a table.

    Attributes:
        table: physical address of the table.
        level: of that table, 1 for PTEs.
        address: the first virtual address behind the entry.
    """

    table: int
    level: int
    address: int


@dataclass(frozen=True)
class FramePlace:
    """Where a run of marked frames is mapped.

    Attributes:
        start, last: virtual, inclusive.
        frame: physical address of the first one.
        level: of the leaf.
        special: the kernel does not count this mapping.
    """

    start: int
    last: int
    frame: int
    level: int
    special: bool


@dataclass
class Accounted:
    """The results of one sweep beside the accounts.

    Attributes:
        tables: every entry that points at a table.
        places: of marked frames.
        runs: ranges by rights and memory type, if they were wanted.
        gaps: a table could not be read.
        whole: false if the limit of entries ended it.
    """

    tables: list[TableUse] = field(default_factory=list)
    places: list[FramePlace] = field(default_factory=list)
    runs: list[Range] = field(default_factory=list)
    gaps: bool = False
    whole: bool = True


@dataclass
class _Sweep:
    read: ReadPhysical
    paging: Paging
    first: int
    last: int
    accounts: Accounts
    marked: bytes | bytearray | None
    most_places: int
    found: Accounted = field(default_factory=Accounted)
    seen: set[tuple[int, int]] = field(default_factory=set)


def account_range(
    read: ReadPhysical,
    root: int,
    first: int,
    last: int,
    paging: Paging,
    accounts: Accounts,
    marked: bytes | bytearray | None = None,
    most_places: int = 0,
) -> Accounted:
    """Add the mappings of a range to accounts.

    A table that is reached a second time counts once, as in :func:`walk_range`.

    Args:
        read: reads physical memory.
        root: physical address of the topmost table.
        first: first address, of a whole page.
        last: last address, inclusive.
        paging: the form of the tables.
        accounts: to add to.
        marked: by PFN, 1 for the frames whose places are wanted.
        most_places: limit of runs of marked frames.
    """
    sweep = _Sweep(read, paging, first, last, accounts, marked, most_places)
    for offset in paging.top_offsets():
        _visit(sweep, 0, paging.root_address(root), offset)
    return sweep.found


def _visit(sweep: _Sweep, depth: int, table: int, base: int) -> None:
    paging = sweep.paging
    level = paging.tables[depth]
    for index in range(level.entries):
        start = paging.canonical(base + (index << level.shift))
        last = start + level.bytes - 1
        if last < sweep.first or start > sweep.last:
            continue
        try:
            raw = read_entry(sweep.read, table, index, level, paging)
        except MemoryGap:
            sweep.found.gaps = True
            return
        entry = paging.decode(raw, level, upper=start > paging.lower_half_last)
        if entry.base is None:
            continue
        if entry.kind is EntryKind.TABLE:
            sweep.found.tables.append(
                TableUse(entry.base, level.number - 1, max(start, sweep.first))
            )
            key = (depth + 1, entry.base)
            if key in sweep.seen:
                continue
            if sweep.first <= start and last <= sweep.last:
                sweep.seen.add(key)
            _visit(sweep, depth + 1, entry.base, base + (index << level.shift))
            continue
        first = max(start, sweep.first)
        place = FramePlace(
            start=first,
            last=min(last, sweep.last),
            frame=entry.base + first - start,
            level=level.number,
            special=bool(raw & paging.special_mask),
        )
        _count(sweep, place, paging.memory_types.index(paging.memory_type(raw, level)))


def _count(sweep: _Sweep, place: FramePlace, kind: int) -> None:
    accounts = sweep.accounts
    for page in range((place.last + 1 - place.start) >> PAGE_SHIFT):
        pfn = (place.frame >> PAGE_SHIFT) + page
        if pfn >= len(accounts.uses):
            return
        accounts.uses[pfn] |= 1 << kind | (USE_SPECIAL if place.special else USE_NORMAL)
        if place.level == 1 and not place.special:
            accounts.counts[pfn] = min(accounts.counts[pfn] + 1, _FULL)
        if sweep.marked is not None and sweep.marked[pfn]:
            _add_place(sweep, place, page, pfn)


def _add_place(sweep: _Sweep, place: FramePlace, page: int, pfn: int) -> None:
    """Add a marked frame, to the last run if it adjoins in virtual and in physical memory."""
    start, places = place.start + (page << PAGE_SHIFT), sweep.found.places
    one = FramePlace(
        start, start + (1 << PAGE_SHIFT) - 1, pfn << PAGE_SHIFT, place.level, place.special
    )
    before = places[-1] if page and places else None
    if before is not None and before.last + 1 == start:
        places[-1] = FramePlace(before.start, one.last, before.frame, one.level, one.special)
    elif len(places) < sweep.most_places:
        places.append(one)
