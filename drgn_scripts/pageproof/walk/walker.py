# SPDX-License-Identifier: GPL-2.0-or-later
"""A slow and obvious page-table walker: one address, one entry at a time.

It knows no source of memory: it is given a way to read physical memory. It
stays as the oracle of faster engines, so that obvious goes before quick.
"""

from __future__ import annotations

from collections.abc import Callable

from pageproof.model import EntryKind, MemoryGap, Outcome, Permissions, Step, Walk
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT
from pageproof.walk.entry import Entry, decode_entry, flag_names, memory_type
from pageproof.walk.x86_64 import ENTRIES, ENTRY_BYTES, NX, RW, US, Level, Paging

#: ``read_physical(paddr, length)`` gives exactly ``length`` bytes or raises MemoryGap.
ReadPhysical = Callable[[int, int], bytes]

#: Kinds that end a walk with a frame.
FRAME_KINDS = frozenset({EntryKind.LEAF, EntryKind.PROT_NONE, EntryKind.INVALIDATED})


def walk_address(read_physical: ReadPhysical, root: int, address: int, paging: Paging) -> Walk:
    """Walk the tables for one virtual address.

    Args:
        read_physical: gives physical memory; asked for one entry at a time.
        root: physical address of the topmost table, or a CR3 value.
        address: virtual address, 0 to 2**64 - 1.
        paging: the form of the tables.

    Returns:
        What was seen; never raises for what is in memory. The work is bounded
        by the number of levels, also for tables that point at themselves.

    Raises:
        ValueError: the address is no 64-bit number.
    """
    if not 0 <= address < 1 << 64:
        raise ValueError(f"{address:#x} is no 64-bit address")
    table = paging.address_of(root)
    steps: list[Step] = []
    write, user, execute = True, True, True

    def end(outcome: Outcome, detail: str, entry: Entry | None = None) -> Walk:
        return Walk(
            address=address,
            root=paging.address_of(root),
            levels=paging.levels,
            steps=tuple(steps),
            outcome=outcome,
            swap_type=entry.swap_type if entry else None,
            swap_offset=entry.swap_offset if entry else None,
            detail=detail,
        )

    if not paging.is_canonical(address):
        return end(
            Outcome.NON_CANONICAL,
            f"{address:#018x} is not canonical with {paging.levels} levels",
        )
    for level in paging.tables:
        index = address >> level.shift & ENTRIES - 1
        try:
            raw = read_entry(read_physical, table, index, level, paging)
        except MemoryGap as gap:
            return end(gap.outcome, f"{level.name} table at {table:#x}: {gap}")
        entry = decode_entry(raw, level, paging, upper=bool(address >> 63))
        steps.append(
            Step(
                level=level.number,
                name=level.name,
                table=table,
                index=index,
                entry=raw,
                kind=entry.kind,
                flags=flag_names(raw, level, entry),
                base=entry.base,
            )
        )
        where = f"{level.name} entry {index} of the table at {table:#x}"
        if entry.base is None:
            return end(Outcome(entry.kind.value), f"{where} is {entry.kind.value}", entry)
        write &= bool(raw & RW)
        user &= bool(raw & US)
        execute &= not raw & NX
        if entry.kind is EntryKind.TABLE:
            table = entry.base
            continue
        paddr = entry.base | address & level.bytes - 1
        present = entry.kind is EntryKind.LEAF
        return Walk(
            address=address,
            root=paging.address_of(root),
            levels=paging.levels,
            steps=tuple(steps),
            outcome=Outcome.MAPPED if present else Outcome(entry.kind.value),
            paddr=paddr,
            pfn=paddr >> PAGE_SHIFT,
            leaf_bytes=level.bytes,
            permissions=Permissions(write=write, execute=execute, user=user, access=present),
            memory_type=memory_type(raw, level, paging),
            detail="" if present else f"{where} is {entry.kind.value}",
        )
    raise AssertionError("a PTE is always a leaf or nothing")


def read_entry(
    read_physical: ReadPhysical, table: int, index: int, level: Level, paging: Paging
) -> int:
    """Read one entry; a zero is doubted where the target makes up zeros.

    Raises:
        MemoryGap: the table can't be had.
    """
    data = read_physical(table + index * ENTRY_BYTES, ENTRY_BYTES)
    if len(data) != ENTRY_BYTES:
        raise MemoryGap(Outcome.UNREADABLE, f"{len(data)} bytes came instead of {ENTRY_BYTES}")
    raw = int.from_bytes(data, "little")
    if raw == 0 and paging.zero_fills and not any(read_physical(table, PAGE_BYTES)):
        raise zeros_made_up()
    return raw


def zeros_made_up() -> MemoryGap:
    """What is to be raised for a table of nothing but zeros on a target that makes up zeros."""
    return MemoryGap(
        Outcome.ZERO_FILLED,
        "all of it reads as zeros, and this target makes up zeros for what it does not have",
    )
