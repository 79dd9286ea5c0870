# SPDX-License-Identifier: GPL-2.0-or-later
"""The x86_64 paging form, as data.

Sources: Intel SDM volume 3A, chapter 4 (tables 4-15 to 4-20, 4-12 for PAT);
``arch/x86/include/asm/pgtable_types.h``, ``pgtable-invert.h``, ``pgtable_64.h``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pageproof.model import MemoryType, SwapLayout
from pageproof.space.units import ADDRESS_LAST

ENTRIES: Final = 512
ENTRY_BYTES: Final = 8

PRESENT: Final = 1 << 0
RW: Final = 1 << 1
US: Final = 1 << 2
PWT: Final = 1 << 3
PCD: Final = 1 << 4
ACCESSED: Final = 1 << 5
DIRTY: Final = 1 << 6
PSE: Final = 1 << 7
PAT_4K: Final = 1 << 7
GLOBAL: Final = 1 << 8
#: ``_PAGE_PROTNONE``: GLOBAL's place while PRESENT is clear.
PROTNONE: Final = 1 << 8
PAT_LARGE: Final = 1 << 12
NX: Final = 1 << 63

#: Bits 51:12. NX, protection keys and the software bits are not address.
ADDRESS_MASK: Final = 0x000F_FFFF_FFFF_F000
#: As many bits as an entry's address has; what MAXPHYADDR is at most.
MOST_PHYSICAL_BITS: Final = 52


@dataclass(frozen=True)
class Level:
    """One level of tables.

    Attributes:
        number: 1 (PTE) to 5 (PGD of 5 levels).
        shift: log2 of the bytes that one entry spans.
        leaf: whether a PSE bit makes an entry a leaf (PTEs always are).
        reserved_in_leaf: bits that must be zero in a huge leaf.
    """

    number: int
    name: str
    shift: int
    leaf: bool
    reserved_in_leaf: int

    @property
    def bytes(self) -> int:
        """Bytes of virtual memory under one entry."""
        return 1 << self.shift


_PTE: Final = Level(1, "PTE", 12, True, 0)
_PMD: Final = Level(2, "PMD", 21, True, 0x1F_E000)
_PUD: Final = Level(3, "PUD", 30, True, 0x3FFF_E000)
_P4D: Final = Level(4, "P4D", 39, False, 0)

#: From the top. With 4 levels Linux folds the P4D and calls the top PGD.
LEVELS: Final[dict[int, tuple[Level, ...]]] = {
    4: (Level(4, "PGD", 39, False, 0), _PUD, _PMD, _PTE),
    5: (Level(5, "PGD", 48, False, 0), _P4D, _PUD, _PMD, _PTE),
}

#: What ``pat_bp_init()`` writes to the PAT MSR where the CPU has all of PAT
#: (``arch/x86/mm/pat/memtype.c``), by PAT index.
LINUX_PAT: Final = (
    MemoryType.WB,
    MemoryType.WC,
    MemoryType.UC_MINUS,
    MemoryType.UC,
    MemoryType.WB,
    MemoryType.WP,
    MemoryType.UC_MINUS,
    MemoryType.WT,
)


@dataclass(frozen=True)
class Paging:
    """The form of one target's tables.

    Attributes:
        levels: 4 or 5, from the running kernel, never from the host.
        sme_mask: the C-bit; taken out of every physical address.
        pat: memory type by PAT index.
        swap: layout of non-present entries, None if not known.
        zero_fills: the target gives zeros for memory that it does not have, so
            that a table of nothing but zeros proves nothing.
        physical_bits: MAXPHYADDR, or as many as an entry has where it is not known.
    """

    levels: int
    sme_mask: int = 0
    pat: tuple[MemoryType, ...] = LINUX_PAT
    swap: SwapLayout | None = None
    zero_fills: bool = False
    physical_bits: int = MOST_PHYSICAL_BITS

    def __post_init__(self) -> None:
        if self.levels not in LEVELS:
            raise ValueError(f"x86_64 has 4 or 5 levels of tables, not {self.levels}")
        if len(self.pat) != len(LINUX_PAT):
            raise ValueError(f"the PAT has 8 entries, not {len(self.pat)}")

    @property
    def tables(self) -> tuple[Level, ...]:
        """The levels from the top."""
        return LEVELS[self.levels]

    def address_of(self, entry: int) -> int:
        """The physical address in a present entry or in CR3, without anything else."""
        return entry & ADDRESS_MASK & ~self.sme_mask

    @property
    def reserved_mask(self) -> int:
        """Address bits that this processor lacks: an access through an entry with one faults."""
        return ADDRESS_MASK & ~self.sme_mask & -(1 << self.physical_bits)

    @property
    def lower_half_last(self) -> int:
        """Last address of the user half."""
        return (1 << self.tables[0].shift + 8) - 1

    def is_canonical(self, address: int) -> bool:
        """True if bits 63 to 47 (4 levels) or 63 to 56 (5 levels) are all the same."""
        sign = self.tables[0].shift + 8
        return address >> sign in (0, ADDRESS_LAST >> sign)
