# SPDX-License-Identifier: GPL-2.0-or-later
"""A slow and obvious page-table walker: one address, one entry at a time.

The caller provides a way to read physical memory. This walker is the oracle of the engine in C, so
it is written to be obvious, not fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pageproof.arch import Entry, Level, Paging
from pageproof.arch.paging import ENTRY_BYTES
from pageproof.model import EntryKind, MemoryGap, Outcome, Permissions, Step, Walk
from pageproof.space.units import PAGE_SHIFT

#: ``read_physical(paddr, length)`` gives exactly ``length`` bytes or raises MemoryGap.
ReadPhysical = Callable[[int, int], bytes]

#: What the root allows.
EVERY_RIGHT: Final = Permissions(write=True, execute=True, user=True)


def walk_address(read_physical: ReadPhysical, root: int, address: int, paging: Paging) -> Walk:
    """Walk the tables for one virtual address.

    Args:
        read_physical: reads physical memory, here one entry at a time.
        root: physical address of the topmost table, or the value of the register that holds it.
        address: virtual address, 0 to 2**64 - 1.
        paging: the form of the tables.

    Returns:
        The walk. Bad data in memory never raises. The number of levels bounds the work, also for
        tables that point at themselves.

    Raises:
        ValueError: the address is not a 64-bit number.
    """
    if not 0 <= address < 1 << 64:
        raise ValueError(f"{address:#x} is not a 64-bit address")
    table = paging.root_address(root)
    steps: list[Step] = []
    upper, rights = address > paging.lower_half_last, EVERY_RIGHT

    def end(outcome: Outcome, detail: str, entry: Entry | None = None) -> Walk:
        return Walk(
            address=address,
            root=paging.root_address(root),
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
        index = level.index_of(address)
        try:
            raw = read_entry(read_physical, table, index, level, paging)
        except MemoryGap as gap:
            return end(gap.outcome, f"{level.name} table at {table:#x}: {gap}")
        entry = paging.decode(raw, level, upper=upper)
        steps.append(
            Step(
                level=level.number,
                name=level.name,
                table=table,
                index=index,
                entry=raw,
                kind=entry.kind,
                flags=paging.flag_names(raw, level, entry),
                base=entry.base,
            )
        )
        where = f"{level.name} entry {index} of the table at {table:#x}"
        if entry.base is None:
            return end(Outcome(entry.kind.value), f"{where} is {entry.kind.value}", entry)
        is_table = entry.kind is EntryKind.TABLE
        rights = paging.rights(raw, rights, table=is_table)
        if is_table:
            table = entry.base
            continue
        paddr = entry.base | address & level.bytes - 1
        present = entry.kind is EntryKind.LEAF
        return Walk(
            address=address,
            root=paging.root_address(root),
            levels=paging.levels,
            steps=tuple(steps),
            outcome=Outcome.MAPPED if present else Outcome(entry.kind.value),
            paddr=paddr,
            pfn=paddr >> PAGE_SHIFT,
            leaf_bytes=level.bytes,
            permissions=rights if present else without_access(rights),
            memory_type=paging.memory_type(raw, level),
            detail="" if present else f"{where} is {entry.kind.value}",
        )
    raise AssertionError("the last level has no tables below it")


def without_access(rights: Permissions) -> Permissions:
    """Return the rights of an entry that names a frame and allows no access."""
    return Permissions(rights.write, rights.execute, rights.user, access=False)


def read_entry(
    read_physical: ReadPhysical, table: int, index: int, level: Level, paging: Paging
) -> int:
    """Read one entry. If the target makes up zeros, a zero in a table of zeros is not believed.

    Raises:
        MemoryGap: the table cannot be read.
    """
    data = read_physical(table + index * ENTRY_BYTES, ENTRY_BYTES)
    if len(data) != ENTRY_BYTES:
        raise MemoryGap(Outcome.UNREADABLE, f"{len(data)} bytes came instead of {ENTRY_BYTES}")
    raw = int.from_bytes(data, "little")
    if raw == 0 and paging.zero_fills and not any(read_physical(table, level.table_bytes)):
        raise zeros_made_up()
    return raw


def zeros_made_up() -> MemoryGap:
    """Return the gap for a table of nothing but zeros on a target that makes up zeros."""
    return MemoryGap(
        Outcome.ZERO_FILLED,
        "the whole table reads as zeros, and this target returns zeros for memory that it lacks",
    )
