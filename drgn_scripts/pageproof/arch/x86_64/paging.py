# SPDX-License-Identifier: GPL-2.0-or-later
"""Page tables of x86_64 with 4 and 5 levels.

The engine has the same form as data (c-helper/pagewalk/arch_x86_64.c). It is written a second time
here, as code, so that the tests can compare two independent decoders.

Sources: Intel SDM volume 3A, chapter 4 (tables 4-15 to 4-20, 4-12 for PAT);
``arch/x86/include/asm/pgtable_types.h``, ``pgtable-invert.h``, ``pgtable_64.h``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from pageproof.arch.paging import Entry, Level, Paging
from pageproof.arch.swap import swap_kind
from pageproof.arch.x86_64.memtypes import LINUX_PAT, X86MemoryType
from pageproof.model import EntryKind, MemoryType, Permissions, SwapLayout
from pageproof.space.units import ADDRESS_LAST

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
#: ``_PAGE_PROTNONE``: the bit of GLOBAL while PRESENT is clear.
PROTNONE: Final = 1 << 8
#: ``_PAGE_SPECIAL``, software bit 1: ``vm_normal_page()`` finds no struct page for the mapping.
SPECIAL: Final = 1 << 9
PAT_LARGE: Final = 1 << 12
NX: Final = 1 << 63

#: Bits 51:12. NX, protection keys and the software bits are not address bits.
ADDRESS_MASK: Final = 0x000F_FFFF_FFFF_F000
#: Address bits of an entry, the largest MAXPHYADDR.
MOST_PHYSICAL_BITS: Final = 52

#: ``SWP_TYPE_BITS`` and ``SWP_OFFSET_FIRST_BIT`` of ``pgtable_64.h``: the type is bits 63:59, the
#: inverted offset bits 58:9.
_SWAP_TYPE_SHIFT: Final = 59
_SWAP_OFFSET_SHIFT: Final = 9
_SWAP_OFFSET_MASK: Final = (1 << 50) - 1

_INDEX_BITS: Final = 9


#: Bits that must be zero in a huge leaf, by the number of the level. Higher levels have no leaves.
_RESERVED_IN_LEAF: Final = {1: 0, 2: 0x1F_E000, 3: 0x3FFF_E000}

_PTE: Final = Level(1, "PTE", 12, _INDEX_BITS)
_PMD: Final = Level(2, "PMD", 21, _INDEX_BITS)
_PUD: Final = Level(3, "PUD", 30, _INDEX_BITS)
_P4D: Final = Level(4, "P4D", 39, _INDEX_BITS)

#: From the top. With 4 levels Linux folds the P4D and calls the top PGD.
LEVELS: Final[dict[int, tuple[Level, ...]]] = {
    4: (Level(4, "PGD", 39, _INDEX_BITS), _PUD, _PMD, _PTE),
    5: (Level(5, "PGD", 48, _INDEX_BITS), _P4D, _PUD, _PMD, _PTE),
}
#: ``__START_KERNEL_map``: where every x86_64 kernel's image is linked.
START_KERNEL_MAP: Final = 0xFFFF_FFFF_8000_0000
#: ``FIXADDR_TOP``: the last page of the 2 MiB after vsyscall's.
FIXADDR_TOP: Final = 0xFFFF_FFFF_FF7F_F000
#: Bits below the sign, by levels.
HALF_BITS: Final = {4: 47, 5: 56}


@dataclass(frozen=True)
class X86Paging(Paging):
    """The form of one target's tables.

    Attributes:
        levels: 4 or 5, from the running kernel, never from the host.
        sme_mask: the C-bit; removed from every physical address.
        pat: memory type by PAT index.
        physical_bits: MAXPHYADDR, or the bits that an entry has if it is not known.
    """

    special_mask: ClassVar[int] = SPECIAL
    memory_types: ClassVar[tuple[MemoryType, ...]] = tuple(X86MemoryType)

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
        return LEVELS[self.levels]

    @property
    def type_table(self) -> tuple[MemoryType, ...]:
        return self.pat

    def engine_form(self) -> str:
        return f"x86_64-{self.levels}"

    @property
    def encrypt_mask(self) -> int:
        return self.sme_mask

    @property
    def half_bits(self) -> int:
        return HALF_BITS[self.levels]

    @property
    def reserved_mask(self) -> int:
        return ADDRESS_MASK & ~self.sme_mask & -(1 << self.physical_bits)

    def address_of(self, entry: int) -> int:
        # PCID (11:0), LAM (62:61) and NOFLUSH (63) of CR3 are not address bits.
        return entry & ADDRESS_MASK & ~self.sme_mask

    def decode(self, raw: int, level: Level, *, upper: bool = False) -> Entry:
        # set_memory_np() leaves entries in the kernel's half that look like swap: without PRESENT,
        # with the address inverted.
        found = self._decode(raw, level, upper=upper)
        if found.base is not None and found.base & self.reserved_mask:
            return Entry(EntryKind.RESERVED_BITS)
        return found

    def _decode(self, raw: int, level: Level, *, upper: bool) -> Entry:
        if raw & PRESENT:
            return self._decode_present(raw, level)
        if raw == 0:
            return Entry(EntryKind.NONE)
        if level.number == 1:
            if raw & PROTNONE:
                return Entry(EntryKind.PROT_NONE, self._leaf_base(_invert(raw), level))
            return Entry(EntryKind.SPECIAL) if upper else _decode_swap(raw, self.swap)
        if level.number in _RESERVED_IN_LEAF:
            if raw & PSE:
                # pmd_present() is true for PSE alone: pmd_mkinvalid() has cleared PRESENT while a
                # split is going on; the entry still names the frame.
                kind = EntryKind.PROT_NONE if raw & PROTNONE else EntryKind.INVALIDATED
                return Entry(kind, self._leaf_base(_invert(raw), level))
            if not raw & PROTNONE and not upper:
                return _decode_swap(raw, self.swap)
        return Entry(EntryKind.SPECIAL)

    def _decode_present(self, raw: int, level: Level) -> Entry:
        if level.number == 1:
            return Entry(EntryKind.LEAF, self._leaf_base(raw, level))
        if not raw & PSE:
            return Entry(EntryKind.TABLE, self.address_of(raw))
        reserved = _RESERVED_IN_LEAF.get(level.number)
        if reserved is None or raw & reserved & ~self.sme_mask:
            return Entry(EntryKind.RESERVED_BITS)
        return Entry(EntryKind.LEAF, self._leaf_base(raw, level))

    def _leaf_base(self, raw: int, level: Level) -> int:
        return self.address_of(raw) & ~(level.bytes - 1)

    def rights(self, raw: int, above: Permissions, *, table: bool) -> Permissions:
        write = above.write and bool(raw & RW)
        execute = above.execute and not raw & NX
        return Permissions(write, execute, above.user and bool(raw & US))

    def memory_type(self, raw: int, level: Level) -> MemoryType:
        """Return the memory type of a leaf: its PAT index through the target's PAT.

        PAT is bit 7 in a 4 KiB PTE and bit 12 in a large leaf, where bit 7 is PSE. MTRRs are
        ignored.
        """
        pat = raw & (PAT_4K if level.number == 1 else PAT_LARGE)
        return self.pat[(4 if pat else 0) | (2 if raw & PCD else 0) | (1 if raw & PWT else 0)]

    def used(self, raw: int) -> tuple[bool, bool]:
        return bool(raw & ACCESSED), bool(raw & DIRTY)

    def flag_names(self, raw: int, level: Level, entry: Entry) -> tuple[str, ...]:
        """Return the set bits in the manual's words; the use of software bits is not guessed."""
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
            if level.number > 1 and level.number in _RESERVED_IN_LEAF:
                bits.append((PAT_LARGE, "PAT"))
        bits += [(1 << bit, f"SW{bit}") for bit in (9, 10, 11, *range(52, 59))]
        names = [name for bit, name in bits if raw & bit]
        key = raw >> 59 & 0xF
        if key:
            names.append(f"PKEY{key}")
        if raw & NX:
            names.append("NX")
        return tuple(names)


def _invert(raw: int) -> int:
    """Undo the L1TF inversion of a non-present entry that names a frame.

    ``protnone_mask()`` of ``arch/x86/include/asm/pgtable-invert.h``: only the address bits matter,
    the caller masks.
    """
    return raw ^ ADDRESS_LAST


def _decode_swap(raw: int, layout: SwapLayout | None) -> Entry:
    swap_type = raw >> _SWAP_TYPE_SHIFT
    offset = (raw >> _SWAP_OFFSET_SHIFT) & _SWAP_OFFSET_MASK ^ _SWAP_OFFSET_MASK
    return Entry(swap_kind(swap_type, offset, layout), None, swap_type, offset)
