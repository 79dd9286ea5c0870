# SPDX-License-Identifier: GPL-2.0-or-later
"""The form of page tables, as the walkers need it. Each architecture implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pageproof.model import EntryKind, MemoryType, Permissions, SwapLayout
from pageproof.space.units import ADDRESS_LAST

#: Bytes of an entry.
ENTRY_BYTES: Final = 8


@dataclass(frozen=True)
class Level:
    """One level of tables.

    Attributes:
        number: 1 for the last one.
        shift: log2 of the bytes that one entry spans.
        index_bits: log2 of the entries of a table.
    """

    number: int
    name: str
    shift: int
    index_bits: int

    @property
    def bytes(self) -> int:
        """Bytes of virtual memory under one entry."""
        return 1 << self.shift

    @property
    def entries(self) -> int:
        """Entries of a table."""
        return 1 << self.index_bits

    @property
    def table_bytes(self) -> int:
        """Bytes of a table."""
        return ENTRY_BYTES << self.index_bits

    def index_of(self, address: int) -> int:
        """Return the entry that an address selects in a table of this level."""
        return address >> self.shift & (1 << self.index_bits) - 1


@dataclass(frozen=True)
class Entry:
    """One decoded entry. ``base`` is None if the entry names no frame and no table."""

    kind: EntryKind
    base: int | None = None
    swap_type: int | None = None
    swap_offset: int | None = None


class Paging(ABC):
    """The form of one target's tables. Entries are 64 bits wide and little-endian.

    Attributes:
        half_bits: bits of an address below those that must all be equal. The upper half begins
            at ``-(1 << half_bits)``.
        separate_roots: each half of the address space has a root of its own. Then the root that
            a walk gets is the one of the half that the address or the range is in.
        special_mask: the bit that keeps a mapping out of the kernel's counts (``pte_special()``).
        type_table: memory type by the index that the bits of a leaf make up.
        memory_types: the names of all memory types; the engine numbers them in this order.
        levels: how many levels of tables the target uses.
        swap: layout of non-present entries, None if not known.
        zero_fills: the target returns zeros for memory that it does not have, so that a table of
            nothing but zeros proves nothing.
    """

    separate_roots: ClassVar[bool] = False
    special_mask: ClassVar[int]
    memory_types: ClassVar[tuple[MemoryType, ...]]

    levels: int
    swap: SwapLayout | None
    zero_fills: bool

    @property
    @abstractmethod
    def tables(self) -> tuple[Level, ...]:
        """The levels from the top."""

    @property
    @abstractmethod
    def type_table(self) -> tuple[MemoryType, ...]:
        """See the class."""

    @abstractmethod
    def engine_form(self) -> str | Mapping[str, Any]:
        """Return the form for the engine in C: the name of a built-in one, or its data.

        The data are the arguments of ``pageproof_pagewalk.Form``.
        """

    @property
    def encrypt_mask(self) -> int:
        """The bit of an entry that marks encrypted memory; not an address bit."""
        return 0

    @property
    def reserved_mask(self) -> int:
        """Address bits that the processor lacks: an access through an entry with one faults."""
        return 0

    @property
    @abstractmethod
    def half_bits(self) -> int:
        """See the class."""

    @abstractmethod
    def address_of(self, entry: int) -> int:
        """Return the physical address in a present entry."""

    def root_address(self, root: int) -> int:
        """Return the physical address in the register with the root, or in a root's address."""
        return self.address_of(root)

    @abstractmethod
    def decode(self, raw: int, level: Level, *, upper: bool = False) -> Entry:
        """Return what an entry means at a level.

        Args:
            raw: the entry.
            level: of its table.
            upper: the entry leads to the kernel's half, where nothing is ever swapped out.
        """

    @abstractmethod
    def rights(self, raw: int, above: Permissions, *, table: bool) -> Permissions:
        """Return what an entry with an address leaves of the rights that the entries above give.

        Args:
            raw: the entry.
            above: with ``access`` set.
            table: the entry leads to a table.
        """

    @abstractmethod
    def memory_type(self, raw: int, level: Level) -> MemoryType:
        """Return the memory type of a leaf."""

    @abstractmethod
    def flag_names(self, raw: int, level: Level, entry: Entry) -> tuple[str, ...]:
        """Return the names of the set bits of an entry, in the manual's words."""

    @abstractmethod
    def used(self, raw: int) -> tuple[bool, bool]:
        """Return whether a present leaf was accessed, and written, since its bits were cleared."""

    def level(self, number: int) -> Level:
        """Return the level with a number."""
        return self.tables[self.levels - number]

    @property
    def lower_half_last(self) -> int:
        """Last address of the user half."""
        return (1 << self.half_bits) - 1

    def is_canonical(self, address: int) -> bool:
        """True if the bits of an address that the tables do not translate are all equal."""
        return address >> self.half_bits in (0, ADDRESS_LAST >> self.half_bits)

    def canonical(self, offset: int) -> int:
        """Return the address of an offset into both halves, the lower half first."""
        sign = self.half_bits
        return offset | ADDRESS_LAST >> sign << sign if offset >> sign else offset

    def top_offsets(self) -> tuple[int, ...]:
        """Return where the addresses of a topmost table begin, see :meth:`canonical`."""
        return (0, 1 << self.half_bits) if self.separate_roots else (0,)
