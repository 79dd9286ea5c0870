# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbols and types of a kernel without debug info: a part of the module pageproof_pagewalk.

This file is a stub only. Import these names from pageproof_pagewalk. All input may be damaged; then
these raise ValueError with words for users.
"""

from collections.abc import Sequence
from typing import Final

OFFSETS_PERCPU: Final[int]
"""Offsets of kallsyms: negative ones count from the base, others are addresses themselves."""
OFFSETS_BASE: Final[int]
"""Without a sign, from the base."""
OFFSETS_PLACE: Final[int]
"""With a sign, from their own place; the base is that of the first."""

class SymbolNames:
    """The names of symbols, by number."""

    def __len__(self) -> int: ...
    def name(self, number: int, /) -> bytes:
        """Return the letter of the type, as nm(1) has it, and the name."""

    def find(self, name: bytes, /) -> list[int]:
        """Return the symbols with a name, lowest first, at most 4,096."""

def unpack_symbols(packed: bytes, count: int, tokens: tuple[bytes, ...], /) -> SymbolNames:
    """Unpack ``kallsyms_names``.

    Args:
        packed: may be longer.
        count: at most 2^21.
        tokens: 256.
    """

def parse_symbols(text: bytes, shift: int, /) -> tuple[Sequence[int], SymbolNames]:
    """Read ``/proc/kallsyms`` or a ``System.map``, without the symbols of modules.

    Returns:
        Addresses, sorted; those of the upper half are moved by ``shift``. And their names.
    """

def symbol_addresses(offsets: bytes, form: int, base: int, /) -> Sequence[int] | None:
    """Return the addresses that ``kallsyms_offsets`` stand for; None if they are not sorted."""

class TypeIndex:
    """The types of one BTF, by number from 0."""

    def __new__(cls, types: bytes, strings: bytes, base: bytes) -> TypeIndex:
        """Find where each type begins.

        Args:
            types: whole words, less than 4 GiB.
            strings: its own; these and the base's end with a NUL.
            base: strings of the kernel, if these are the types of a module; else empty.
        """

    def __len__(self) -> int: ...
    def place(self, number: int, /) -> int:
        """Return the word of the types where a type begins."""

    def find(self, name: bytes, /) -> list[int]:
        """Return the types with a name, lowest first, at most 4,096."""

    def enumerations(self, name: bytes, /) -> list[int]:
        """Return the enumerations that have an enumerator with a name, likewise."""

    def has_signed(self) -> bool:
        """Return whether an enumeration of 32 bits has the flag for negative values."""
