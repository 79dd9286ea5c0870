# SPDX-License-Identifier: GPL-2.0-or-later
"""Accounts of all frames: how each is mapped, how often, and through which tables.

The engine in C does it for millions of entries; what is here is the slow and obvious way, its
oracle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pageproof.model import EntryKind, MemoryGap, MemoryType
from pageproof.space.units import ADDRESS_LAST, PAGE_SHIFT
from pageproof.walk.entry import decode_entry, memory_type
from pageproof.walk.walker import ReadPhysical, read_entry
from pageproof.walk.x86_64 import ENTRIES, Paging

#: ``_PAGE_SPECIAL`` (arch/x86/include/asm/pgtable_types.h): the kernel does not count this mapping.
SPECIAL: Final = 1 << 9
#: Bits of :attr:`Accounts.uses` beside ``1 << memory type``.
USE_SPECIAL: Final = 0x40
USE_NORMAL: Final = 0x80
#: Number of a memory type in :attr:`Accounts.uses`, as the engine has it.
TYPE_BITS: Final = {kind: number for number, kind in enumerate(MemoryType)}
_FULL: Final = 255


@dataclass
class Accounts:
    """Arrays by PFN, which sweeps add to.

    Attributes:
        uses: 1 << memory type of each mapping, USE_NORMAL or USE_SPECIAL.
        counts: entries of the last level that map it, less special ones; up to 255.
    """

    uses: bytearray
    counts: bytearray

    @classmethod
    def empty(cls, frames: int) -> Accounts:
        """Accounts of so many frames, each mapped nowhere."""
        return cls(bytearray(frames), bytearray(frames))


@dataclass(frozen=True)
class TableUse:
    """An entry that leads to a table.

    Attributes:
        table: physical address of the table that it leads to.
        level: of that table, 1 for PTEs.
        address: the first virtual address behind the entry.
    """

    table: int
    level: int
    address: int


@dataclass(frozen=True)
class FramePlace:
    """Where marked frames in a row are mapped.

    Attributes:
        start, last: virtual, inclusive.
        frame: physical address of the first.
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
    """What one sweep gave beside the accounts."""

    tables: list[TableUse] = field(default_factory=list)
    places: list[FramePlace] = field(default_factory=list)
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
    """Add what a range maps to accounts.

    A table that is reached a second time counts once, as for :func:`walk_range`.

    Args:
        read: gives physical memory.
        root: physical address of the topmost table.
        first: of whole pages.
        last: inclusive.
        paging: the form of the tables.
        accounts: are added to.
        marked: by PFN, the frames whose places are wanted.
        most_places: how many runs of marked frames are given at most.
    """
    sweep = _Sweep(read, paging, first, last, accounts, marked, most_places)
    _visit(sweep, 0, paging.address_of(root), 0)
    return sweep.found


def _visit(sweep: _Sweep, depth: int, table: int, base: int) -> None:
    paging = sweep.paging
    level = paging.tables[depth]
    for index in range(ENTRIES):
        start = base + (index << level.shift)
        sign = paging.tables[0].shift + 8
        if start >> sign:
            start |= ADDRESS_LAST >> sign << sign
        last = start + level.bytes - 1
        if last < sweep.first or start > sweep.last:
            continue
        try:
            raw = read_entry(sweep.read, table, index, level, paging)
        except MemoryGap:
            sweep.found.gaps = True
            return
        entry = decode_entry(raw, level, paging, upper=bool(start >> 63))
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
            special=bool(raw & SPECIAL),
        )
        _count(sweep, place, TYPE_BITS[memory_type(raw, level, paging)])


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
            _tell(sweep, place, page, pfn)


def _tell(sweep: _Sweep, place: FramePlace, page: int, pfn: int) -> None:
    """A marked frame: goes on with the one before where virtual and physical memory do."""
    start, places = place.start + (page << PAGE_SHIFT), sweep.found.places
    one = FramePlace(
        start, start + (1 << PAGE_SHIFT) - 1, pfn << PAGE_SHIFT, place.level, place.special
    )
    before = places[-1] if page and places else None
    if before is not None and before.last + 1 == start:
        places[-1] = FramePlace(before.start, one.last, before.frame, one.level, one.special)
    elif len(places) < sweep.most_places:
        places.append(one)
