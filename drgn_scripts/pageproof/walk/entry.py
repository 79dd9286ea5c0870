# SPDX-License-Identifier: GPL-2.0-or-later
"""Decoding of one page-table entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pageproof.model import EntryKind, MemoryType, SwapLayout
from pageproof.space.units import ADDRESS_LAST
from pageproof.walk.x86_64 import (
    ACCESSED,
    DIRTY,
    GLOBAL,
    NX,
    PAT_4K,
    PAT_LARGE,
    PCD,
    PRESENT,
    PROTNONE,
    PSE,
    PWT,
    RW,
    US,
    Level,
    Paging,
)

#: ``SWP_TYPE_BITS`` and ``SWP_OFFSET_FIRST_BIT`` of ``pgtable_64.h``: the type
#: is bits 63:59, the inverted offset bits 58:9.
_SWAP_TYPE_SHIFT: Final = 59
_SWAP_OFFSET_SHIFT: Final = 9
_SWAP_OFFSET_MASK: Final = (1 << 50) - 1

#: The smallest ``MAX_SWAPFILES`` that any configuration had: a type below it is
#: swap even where the target's layout is not known.
_ALWAYS_SWAP_BELOW: Final = 32 - 4 - 3 - 1 - 2

#: ``PTE_MARKER_*`` of ``include/linux/swapops.h``.
_MARKERS: Final = (
    (1 << 2, EntryKind.GUARD_MARKER),
    (1 << 1, EntryKind.POISON_MARKER),
    (1 << 0, EntryKind.UFFD_WP_MARKER),
)


@dataclass(frozen=True)
class Entry:
    """One decoded entry. ``base`` is None where nothing is pointed at."""

    kind: EntryKind
    base: int | None = None
    swap_type: int | None = None
    swap_offset: int | None = None


def decode_entry(raw: int, level: Level, paging: Paging, *, upper: bool = False) -> Entry:
    """Say what the 64 bits of an entry mean at a level.

    Args:
        raw: the entry.
        level: of its table.
        paging: the form of the tables.
        upper: it is on the way to the kernel's half, of which nothing is ever
            swapped out: ``set_memory_np()`` leaves what looks like it, an entry
            without PRESENT with its address inverted.
    """
    found = _decode(raw, level, paging, upper=upper)
    if found.base is not None and found.base & paging.reserved_mask:
        return Entry(EntryKind.RESERVED_BITS)
    return found


def _decode(raw: int, level: Level, paging: Paging, *, upper: bool) -> Entry:
    if raw & PRESENT:
        return _decode_present(raw, level, paging)
    if raw == 0:
        return Entry(EntryKind.NONE)
    if level.number == 1:
        if raw & PROTNONE:
            return Entry(EntryKind.PROT_NONE, _leaf_base(_invert(raw), level, paging))
        return Entry(EntryKind.SPECIAL) if upper else _decode_swap(raw, paging.swap)
    if level.leaf:
        if raw & PSE:
            # pmd_present() is true for PSE alone: pmd_mkinvalid() has taken
            # PRESENT away for the moment of a split, the frame is still named.
            kind = EntryKind.PROT_NONE if raw & PROTNONE else EntryKind.INVALIDATED
            return Entry(kind, _leaf_base(_invert(raw), level, paging))
        if not raw & PROTNONE and not upper:
            return _decode_swap(raw, paging.swap)
    return Entry(EntryKind.SPECIAL)


def _decode_present(raw: int, level: Level, paging: Paging) -> Entry:
    if level.number == 1:
        return Entry(EntryKind.LEAF, _leaf_base(raw, level, paging))
    if not raw & PSE:
        return Entry(EntryKind.TABLE, paging.address_of(raw))
    if not level.leaf or raw & level.reserved_in_leaf & ~paging.sme_mask:
        return Entry(EntryKind.RESERVED_BITS)
    return Entry(EntryKind.LEAF, _leaf_base(raw, level, paging))


def _invert(raw: int) -> int:
    """Undo the L1TF inversion of a non-present entry that names a frame.

    ``protnone_mask()`` of ``arch/x86/include/asm/pgtable-invert.h``: only the
    address bits matter, the caller masks.
    """
    return raw ^ ADDRESS_LAST


def _leaf_base(raw: int, level: Level, paging: Paging) -> int:
    return paging.address_of(raw) & ~(level.bytes - 1)


def _decode_swap(raw: int, layout: SwapLayout | None) -> Entry:
    swap_type = raw >> _SWAP_TYPE_SHIFT
    offset = (raw >> _SWAP_OFFSET_SHIFT) & _SWAP_OFFSET_MASK ^ _SWAP_OFFSET_MASK
    return Entry(_swap_kind(swap_type, offset, layout), None, swap_type, offset)


def _swap_kind(swap_type: int, offset: int, layout: SwapLayout | None) -> EntryKind:
    if layout is None:
        return EntryKind.SWAP if swap_type < _ALWAYS_SWAP_BELOW else EntryKind.SPECIAL
    for (first, count), kind in (
        (layout.hwpoison, EntryKind.HWPOISON),
        (layout.migration, EntryKind.MIGRATION),
        (layout.device, EntryKind.DEVICE_PRIVATE),
    ):
        if first <= swap_type < first + count:
            return kind
    first, count = layout.marker
    if first <= swap_type < first + count:
        if count == 2 and swap_type == first:
            # 5.19 to 6.2: SWP_SWAPIN_ERROR stood before the markers (9f186f9e5fa9).
            return EntryKind.POISON_MARKER
        for bit, kind in _MARKERS:
            if offset & bit:
                return kind
        return EntryKind.OTHER_MARKER
    return EntryKind.SWAP


def memory_type(raw: int, level: Level, paging: Paging) -> MemoryType:
    """Memory type of a leaf: its PAT index through the target's PAT.

    PAT is bit 7 in a 4 KiB PTE and bit 12 in a large leaf, where bit 7 is PSE.
    MTRRs are not looked at.
    """
    pat = raw & (PAT_4K if level.number == 1 else PAT_LARGE)
    index = (4 if pat else 0) | (2 if raw & PCD else 0) | (1 if raw & PWT else 0)
    return paging.pat[index]


def flag_names(raw: int, level: Level, entry: Entry) -> tuple[str, ...]:
    """The set bits of an entry in the manual's words; use of software bits is not guessed."""
    if entry.kind is EntryKind.NONE:
        return ()
    if entry.swap_type is not None:
        return (f"type {entry.swap_type}", f"offset {entry.swap_offset}")
    leaf = entry.kind is not EntryKind.TABLE
    bits = [
        (PRESENT, "P"),
        (RW, "RW"),
        (US, "US"),
        (PWT, "PWT"),
        (PCD, "PCD"),
        (ACCESSED, "A"),
    ]
    if leaf:
        bits.append((DIRTY, "D"))
    bits.append((PSE, "PAT" if level.number == 1 else "PSE"))
    if leaf:
        bits.append((GLOBAL, "G" if raw & PRESENT else "PROTNONE"))
        if level.number > 1 and level.leaf:
            bits.append((PAT_LARGE, "PAT"))
    bits += [(1 << bit, f"SW{bit}") for bit in (9, 10, 11, *range(52, 59))]
    names = [name for bit, name in bits if raw & bit]
    key = raw >> 59 & 0xF
    if key:
        names.append(f"PKEY{key}")
    if raw & NX:
        names.append("NX")
    return tuple(names)
