# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of a page-table walk: its steps, the frame, and what stopped it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from pageproof.model.hexint import Address, Bits, Paddr, Pfn


class EntryKind(StrEnum):
    """The kind of a page-table entry.

    The non-present kinds are those of ``include/linux/swapops.h``. The meaning of each swap type
    depends on the configuration and comes from the target.
    """

    TABLE = "table"
    """Present, points at the next table."""
    LEAF = "leaf"
    """Present, maps a frame."""
    PROT_NONE = "prot-none"
    """PRESENT clear, GLOBAL set: names a frame (inverted) that no access may use."""
    INVALIDATED = "invalidated"
    """Huge leaf whose PRESENT bit is cleared for a moment (``pmd_mkinvalid()``)."""
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
    """Not present and not zero, and the target's layout does not define it; or such an entry in the
    kernel's half, where nothing is swapped out."""
    RESERVED_BITS = "reserved-bits"
    """Present, with bits set that the architecture reserves as zero: an access would fault."""


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
    """The dump omits a table on the way."""
    ZERO_FILLED = "zero-filled"
    """A table on the way reads as zeros on a target that makes up zeros."""
    UNREADABLE = "unreadable"
    """A table on the way cannot be read."""


#: Outcomes of a table that could not be read: the memory below it is unknown.
GAPS: Final = frozenset({Outcome.EXCLUDED, Outcome.ZERO_FILLED, Outcome.UNREADABLE})


#: A memory type, by the name that its architecture gives it.
MemoryType: TypeAlias = str


#: Messages for memory that the dump omits: libkdumpfile's, and those of attach/assembled.py.
_EXCLUDED_WORDS: Final = (
    *("excluded page", "page not present in dump", "missing page"),
    *("was left out of the dump", "that was not given"),
)


class MemoryGap(Exception):
    """Memory that cannot be read. Every reader raises this error and no other.

    Attributes:
        outcome: EXCLUDED if a dump omits it, ZERO_FILLED if the target would return made-up zeros,
            UNREADABLE otherwise.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome

    @classmethod
    def left_out(cls, paddr: int) -> MemoryGap:
        """Return the error for memory that an ELF dump lists but does not contain."""
        return cls(Outcome.EXCLUDED, f"{paddr:#x} was left out of the dump")

    @classmethod
    def from_fault(cls, error: Exception) -> MemoryGap:
        """Return the error for drgn's fault; its message shows if the dump omits the memory."""
        message = str(error)
        excluded = any(words in message.lower() for words in _EXCLUDED_WORDS)
        return cls(Outcome.EXCLUDED if excluded else Outcome.UNREADABLE, message)


@dataclass(frozen=True)
class Permissions:
    """The rights of an access, combined over all levels of a walk.

    Attributes:
        write: AND of RW.
        execute: not (OR of NX).
        user: AND of US.
        access: False if the leaf is PROT_NONE: no access is allowed.
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
        base: physical address of the next table or of the leaf; None if the entry has none.
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
        paddr: physical address of ``address`` itself; None if there is no frame.
        pfn: its 4 KiB frame, also inside a huge leaf.
        leaf_bytes: size of the leaf, 0 if there is none.
        swap_type, swap_offset: of a non-present entry, else None.
        detail: for each outcome except MAPPED, one sentence with level and table.
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
    """A range of virtual memory under one entry, from :func:`pageproof.walk.walk_range`.

    ``start`` and ``last`` are inclusive, so that the last page of the address
    space needs no 2**64. If the entry points at a table that was walked already,
    ``shared_with`` is the virtual address where that happened, and the entries of
    the table are not repeated. ``frame``, ``permissions`` and ``memory_type`` are
    None if there is no frame.
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
