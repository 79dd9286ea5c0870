# SPDX-License-Identifier: GPL-2.0-or-later
"""An architecture of the tests' own: three levels, a root for each half, other bits and types.

It is written twice, as the rest of the house does it: as code for the slow walker, and as data for
the engine in C. The topmost table is smaller than a page, table entries restrict what is below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

import drgn

from pageproof.arch import Architecture, Entry, Level, Paging
from pageproof.arch.swap import swap_kind
from pageproof.model import EntryKind, MemoryType, PagingFacts, Permissions, SwapLayout

V, BLOCK, WRITE, USER, NOEXEC, TYPE_0, TYPE_1, ACCESSED, DIRTY, SPECIAL, HIDDEN = (
    1 << bit for bit in range(11)
)
#: In an entry that leads to a table: nothing below may be written.
TABLE_RO: Final = 1 << 60
ADDRESS: Final = 0x0000_FFFF_FFFF_F000
ALL: Final = (1 << 64) - 1
#: Of a leaf of the second level: the address bits within its 2 MiB.
IN_BLOCK: Final = 0x1F_F000
HALF_BITS: Final = 36
UPPER: Final = ALL - (1 << HALF_BITS) + 1
KERNEL_ROOT: Final = 0x1200


class ToyMemoryType(StrEnum):
    CACHED = "cached"
    BUFFERED = "buffered"
    DEVICE = "device"


TYPES: Final = (ToyMemoryType.CACHED, ToyMemoryType.DEVICE, ToyMemoryType.BUFFERED) + (
    ToyMemoryType.CACHED,
) * 5
LEVELS: Final = (Level(3, "TOP", 30, 6), Level(2, "MID", 21, 9), Level(1, "END", 12, 9))
_NAMES: Final = {
    "V": V,
    "BLOCK": BLOCK,
    "W": WRITE,
    "U": USER,
    "XN": NOEXEC,
    "T0": TYPE_0,
    "T1": TYPE_1,
    "AF": ACCESSED,
    "DB": DIRTY,
    "SP": SPECIAL,
    "HID": HIDDEN,
    "RO": TABLE_RO,
}


@dataclass(frozen=True)
class ToyPaging(Paging):
    special_mask: ClassVar[int] = SPECIAL
    separate_roots: ClassVar[bool] = True
    memory_types: ClassVar[tuple[MemoryType, ...]] = tuple(ToyMemoryType)

    levels: int = 3
    swap: SwapLayout | None = None
    zero_fills: bool = False

    @property
    def tables(self) -> tuple[Level, ...]:
        return LEVELS

    @property
    def type_table(self) -> tuple[MemoryType, ...]:
        return TYPES

    @property
    def half_bits(self) -> int:
        return HALF_BITS

    def address_of(self, entry: int) -> int:
        return entry & ADDRESS

    def root_address(self, root: int) -> int:
        return root & (ADDRESS | 0xE00)

    def engine_form(self) -> Mapping[str, Any]:
        return FORM

    def decode(self, raw: int, level: Level, *, upper: bool = False) -> Entry:
        if raw == 0:
            return Entry(EntryKind.NONE)
        if level.number == 1:
            if raw & V:
                return Entry(EntryKind.LEAF, raw & ADDRESS)
            if raw & HIDDEN:
                return Entry(EntryKind.PROT_NONE, raw & ADDRESS)
            if upper:
                return Entry(EntryKind.SPECIAL)
            kind, offset = raw >> 11 & 31, raw >> 16 & (1 << 40) - 1
            return Entry(swap_kind(kind, offset, self.swap), None, kind, offset)
        if not raw & V:
            return Entry(EntryKind.SPECIAL)
        if not raw & BLOCK:
            return Entry(EntryKind.TABLE, raw & ADDRESS)
        if level.number == 3 or raw & IN_BLOCK:
            return Entry(EntryKind.RESERVED_BITS)
        return Entry(EntryKind.LEAF, raw & ADDRESS)

    def rights(self, raw: int, above: Permissions, *, table: bool) -> Permissions:
        if table:
            write = above.write and not raw & TABLE_RO
            return Permissions(write, above.execute, above.user)
        return Permissions(
            write=above.write and bool(raw & WRITE),
            execute=above.execute and not raw & NOEXEC,
            user=above.user and bool(raw & USER),
        )

    def memory_type(self, raw: int, level: Level) -> MemoryType:
        return TYPES[(1 if raw & TYPE_0 else 0) | (2 if raw & TYPE_1 else 0)]

    def used(self, raw: int) -> tuple[bool, bool]:
        return False, False

    def flag_names(self, raw: int, level: Level, entry: Entry) -> tuple[str, ...]:
        if entry.kind is EntryKind.NONE:
            return ()
        if entry.swap_type is not None:
            return (f"type {entry.swap_type}", f"offset {entry.swap_offset}")
        return tuple(name for name, bit in _NAMES.items() if raw & bit)


_NONE: Final = ("none", ALL, 0, 0, False)
_BITS: Final = tuple((name, bit, bit, 0) for name, bit in _NAMES.items())


def _level(name: str, index_bits: int, *rules: tuple[str, int, int, int, bool]) -> Any:
    return name, index_bits, rules, _BITS, _BITS, (TYPE_0, TYPE_1, 0)


#: The same as data, for ``pageproof_pagewalk.Form``.
FORM: Final[Mapping[str, Any]] = {
    "name": "toy",
    "page_shift": 12,
    "levels": (
        _level(
            "TOP",
            6,
            ("table", V | BLOCK, V, 0, False),
            ("reserved-bits", V, V, 0, False),
            _NONE,
            ("special", 0, 0, 0, False),
        ),
        _level(
            "MID",
            9,
            ("table", V | BLOCK, V, 0, False),
            ("leaf", V | BLOCK, V | BLOCK, IN_BLOCK, False),
            _NONE,
            ("special", 0, 0, 0, False),
        ),
        _level(
            "END",
            9,
            ("leaf", V, V, 0, False),
            _NONE,
            ("prot-none", V | HIDDEN, HIDDEN, 0, False),
            ("swap", 0, 0, 0, False),
        ),
    ),
    "address_mask": ADDRESS,
    "root_mask": ADDRESS | 0xE00,
    "leaf_rights": (("write", WRITE, WRITE), ("execute", NOEXEC, 0), ("user", USER, USER)),
    "table_rights": (("write", TABLE_RO, 0),),
    "memory_types": tuple(ToyMemoryType),
    "roots": 2,
    "ignorable": ACCESSED | DIRTY,
    "swap": (11, 5, 16, 40, False),
}


class ToyArchitecture(Architecture):
    name: ClassVar[str] = "toy"
    platform: ClassVar[str] = "PPC64"
    elf_machine: ClassVar[int] = 0xFFFF
    memory_types: ClassVar[tuple[MemoryType, ...]] = tuple(ToyMemoryType)
    special_mask: ClassVar[int] = SPECIAL
    write_back: ClassVar[MemoryType] = ToyMemoryType.CACHED
    physical_bits: ClassVar[int] = 48
    user_end: ClassVar[int] = 1 << HALF_BITS
    image_map: ClassVar[int] = UPPER
    huge_page_bytes: ClassVar[int] = 2 << 20
    huge_table_bytes: ClassVar[int] = 1 << 30
    section_bits: ClassVar[int] = 27
    flag_words: ClassVar[Mapping[str, str]] = {"V": "valid", "W": "may be written"}

    def paging(self, facts: PagingFacts, *, zero_fills: bool) -> Paging:
        return ToyPaging(swap=facts.swap, zero_fills=zero_fills)

    def page_prot_words(self, prot: int) -> str:
        return "|".join(name for name, bit in _NAMES.items() if prot & bit)

    def read_paging(self, prog: drgn.Program) -> PagingFacts:
        return PagingFacts(
            levels=3,
            levels_from="the toy always has three",
            kernel_root=KERNEL_ROOT,
            sme_mask=0,
            pat=TYPES,
            pti=False,
            page_offset_base=UPPER,
            vmalloc_base=None,
            vmemmap_base=None,
            phys_base=0,
            swap=None,
        )

    def page_offset(self, prog: drgn.Program) -> int:
        return UPPER

    def physmap(self, prog: drgn.Program) -> range:
        return range(UPPER, UPPER + (1 << 30))

    def kernel_half(self, prog: drgn.Program) -> range:
        return range(UPPER, ALL + 1)

    def physical_end(self, prog: drgn.Program) -> int:
        return 1 << self.physical_bits


TOY: Final = ToyArchitecture()
