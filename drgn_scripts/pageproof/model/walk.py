# SPDX-License-Identifier: GPL-2.0-or-later
"""What a page-table walk saw: steps, the frame they lead to, and what was in the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pageproof.model.hexint import Address, Bits, Paddr, Pfn


class EntryKind(StrEnum):
    """What one page-table entry is.

    The non-present kinds are those of ``include/linux/swapops.h``; which swap
    type means which is configuration and comes from the target.
    """

    TABLE = "table"
    """Present, points at the next table."""
    LEAF = "leaf"
    """Present, maps a frame."""
    PROT_NONE = "prot-none"
    """PRESENT clear, GLOBAL set: names a frame (inverted) that no access may use."""
    INVALIDATED = "invalidated"
    """Huge leaf with PRESENT taken away for a moment (``pmd_mkinvalid()``)."""
    NONE = "none"
    """All bits are zero."""
    SWAP = "swap"
    MIGRATION = "migration"
    DEVICE_PRIVATE = "device-private"
    HWPOISON = "hwpoison"
    GUARD_MARKER = "guard-marker"
    UFFD_WP_MARKER = "uffd-wp-marker"
    POISON_MARKER = "poison-marker"
    OTHER_MARKER = "other-marker"
    SPECIAL = "special"
    """Not present and not zero, and the target's layout does not say what it is; or such an
    entry in the kernel's half, where nothing is swapped out."""
    RESERVED_BITS = "reserved-bits"
    """Present, with bits set that the architecture wants to be zero: access would fault."""


class Outcome(StrEnum):
    """How a walk ended."""

    MAPPED = "mapped"
    PROT_NONE = "prot-none"
    INVALIDATED = "invalidated"
    NONE = "none"
    SWAP = "swap"
    MIGRATION = "migration"
    DEVICE_PRIVATE = "device-private"
    HWPOISON = "hwpoison"
    GUARD_MARKER = "guard-marker"
    UFFD_WP_MARKER = "uffd-wp-marker"
    POISON_MARKER = "poison-marker"
    OTHER_MARKER = "other-marker"
    SPECIAL = "special"
    RESERVED_BITS = "reserved-bits"
    NON_CANONICAL = "non-canonical"
    EXCLUDED = "excluded"
    """A table on the way was left out of the dump."""
    ZERO_FILLED = "zero-filled"
    """A table on the way reads as zeros on a target that makes up zeros."""
    UNREADABLE = "unreadable"
    """A table on the way can't be read."""


#: Outcomes of a table that could not be had: what is below it is not known.
GAPS: Final = frozenset({Outcome.EXCLUDED, Outcome.ZERO_FILLED, Outcome.UNREADABLE})


class MemoryType(StrEnum):
    """Memory types as Linux names them (``enum page_cache_mode``)."""

    WB = "WB"
    WC = "WC"
    UC_MINUS = "UC-"
    UC = "UC"
    WT = "WT"
    WP = "WP"


def memory_types(types: Iterable[MemoryType | None]) -> frozenset[MemoryType]:
    """The types that differ in effect; more than one conflict.

    UC- is UC but where an MTRR says write-combining, which Linux has none of for RAM.
    """
    return frozenset(
        MemoryType.UC if one is MemoryType.UC_MINUS else one for one in types if one is not None
    )


#: How libkdumpfile says that makedumpfile left a page out.
_EXCLUDED_WORDS: Final = ("excluded page", "page not present in dump", "missing page")


class MemoryGap(Exception):
    """Memory that can't be had. Every way to read raises this and nothing else.

    Attributes:
        outcome: EXCLUDED if a dump left it out, ZERO_FILLED if zeros would be
            made up, UNREADABLE for all else.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome

    @classmethod
    def left_out(cls, paddr: int) -> MemoryGap:
        """What whoever knows of it says of memory that an ELF dump names and does not hold."""
        return cls(Outcome.EXCLUDED, f"{paddr:#x} was left out of the dump")

    @classmethod
    def from_fault(cls, error: Exception) -> MemoryGap:
        """Tell from drgn's words whether a dump left the memory out or it is not there at all."""
        message = str(error)
        excluded = any(words in message.lower() for words in _EXCLUDED_WORDS)
        return cls(Outcome.EXCLUDED if excluded else Outcome.UNREADABLE, message)


@dataclass(frozen=True)
class Permissions:
    """What an access may do, combined over all levels of a walk.

    Attributes:
        write: AND of RW.
        execute: not (OR of NX).
        user: AND of US.
        access: false where the leaf is PROT_NONE: nothing may touch it.
    """

    write: bool
    execute: bool
    user: bool
    access: bool = True


@dataclass(frozen=True)
class Step:
    """One entry on the way.

    Attributes:
        level: 1 for the PTE to 5 for the PGD of 5-level paging.
        table: physical address of the table.
        index: entry number in it, 0 to 511.
        entry: the raw 64 bits.
        flags: the names of the bits that are set, in the manual's words.
        base: where the entry points: the next table's or the leaf's physical
            address; None where it points nowhere.
    """

    level: int
    name: str
    table: Paddr
    index: int
    entry: Bits
    kind: EntryKind
    flags: tuple[str, ...]
    base: Paddr | None


@dataclass(frozen=True)
class Walk:
    """A walk for one address.

    Attributes:
        root: physical address of the topmost table.
        levels: 4 or 5.
        paddr: physical address of ``address`` itself; None if no frame is named.
        pfn: its 4 KiB frame, also inside a huge leaf.
        leaf_bytes: size of the leaf, 0 if there is none.
        swap_type, swap_offset: of a non-present entry, else None.
        detail: for every outcome but MAPPED, one sentence with level and table.
    """

    address: Address
    root: Paddr
    levels: int
    steps: tuple[Step, ...]
    outcome: Outcome
    paddr: Paddr | None = None
    pfn: Pfn | None = None
    leaf_bytes: int = 0
    permissions: Permissions | None = None
    memory_type: MemoryType | None = None
    swap_type: int | None = None
    swap_offset: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Range:
    """A stretch of virtual memory under one entry, from :func:`pageproof.walk.walk_range`.

    ``start`` and ``last`` are inclusive, so that the last page of the address
    space needs no 2**64. ``shared_with`` is set when the entry points at a
    table that was walked already: the virtual address where that was; what is
    below is then not repeated. ``frame``, ``permissions`` and ``memory_type``
    are None if no frame is named.
    """

    start: Address
    last: Address
    level: int
    outcome: Outcome
    frame: Paddr | None
    permissions: Permissions | None
    shared_with: Address | None = None
    detail: str = ""
    memory_type: MemoryType | None = None
