# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbols of the kernel: from its own compressed table, ``/proc/kallsyms`` or a ``System.map``.

Sources: ``kernel/kallsyms.c``, ``scripts/kallsyms.c``.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

import drgn

from pageproof.attach.btf.engine import engine
from pageproof.attach.btf.format import encoded
from pageproof.errors import PageproofError
from pageproof.space.units import ADDRESS_LAST

if TYPE_CHECKING:
    from pageproof_pagewalk import SymbolNames

#: Limits. Debian's kernels have some 160,000 symbols, whose packed names take 2 MB.
_MAX_SYMBOLS: Final = 1 << 21
_MAX_NAMES_BYTES: Final = 32 << 20
_MAX_TEXT_BYTES: Final = 256 << 20
_TOKENS: Final = 256
#: The longest token of Debian's kernels has 30 bytes; the kernel's own limit is not written down.
_MAX_TOKEN_BYTES: Final = 512
_NEEDED: Final = ("kallsyms_num_syms", "kallsyms_names", "kallsyms_token_table")

_BINDINGS: Final = {"w": drgn.SymbolBinding.WEAK, "v": drgn.SymbolBinding.WEAK}
_RANKS: Final = {
    drgn.SymbolBinding.GLOBAL: 0,
    drgn.SymbolBinding.WEAK: 1,
    drgn.SymbolBinding.LOCAL: 2,
}
_HALF: Final = ADDRESS_LAST // 2 + 1
_GIVE: Final = "give the System.map of exactly this build"


class SymbolTable:
    """Symbols, sorted by address. A symbol ends where the next one begins."""

    def __init__(self, addresses: Sequence[int], names: SymbolNames, source: str) -> None:
        """Take symbols and where they come from, for messages."""
        self.source = source
        self._addresses, self._names = addresses, names

    def __len__(self) -> int:
        return len(self._names)

    def address(self, name: str) -> int:
        """Return the address of a symbol.

        Raises:
            LookupError: there is none.
        """
        return self._addresses[self._best(name)]

    def lengths(self, name: str, size_bytes: int) -> range:
        """Return the possible lengths of an array.

        It ends where the next symbol begins, or before: at most the bytes that align that symbol.
        A variable is not aligned to more than its own size, which ends at the one after it.

        Args:
            name: the array.
            size_bytes: of an element.

        Raises:
            LookupError: there is no such symbol.
        """
        number = self._best(name)
        extent = self._size(number)
        after = bisect_right(self._addresses, self._addresses[number])
        if not extent or not size_bytes:
            return range(0)
        own = self._size(after)
        alignment = self._addresses[after] & -self._addresses[after]
        if own:
            alignment = min(alignment, 1 << own.bit_length() - 1)
        return range(max(-(-(extent - alignment + 1) // size_bytes), 1), extent // size_bytes + 1)

    def find(self, name: str | None, address: int | None, one: bool) -> list[drgn.Symbol]:
        """Return symbols as drgn's symbol finders do."""
        if name is not None:
            numbers = self._named(name)
            if address is not None:
                numbers = [n for n in numbers if self._holds(n, address)]
        elif address is not None:
            numbers = self._at(address)
        else:
            numbers = list(range(len(self._names)))
        if one and numbers:
            numbers = [min(numbers, key=self._rank)]
        return [self._symbol(number) for number in numbers]

    def _best(self, name: str) -> int:
        numbers = self._named(name)
        if not numbers:
            raise LookupError(f"no symbol {name}")
        return min(numbers, key=self._rank)

    def _named(self, name: str) -> list[int]:
        return self._names.find(encoded(name))

    def _at(self, address: int) -> list[int]:
        """Return the symbols with the greatest address that is not above the given one."""
        last = bisect_right(self._addresses, address) - 1
        if last < 0 or not self._holds(last, address):
            return []
        first = last
        while first and self._addresses[first - 1] == self._addresses[last]:
            first -= 1
        return list(range(first, last + 1))

    def _holds(self, number: int, address: int) -> bool:
        start = self._addresses[number]
        return start <= address < start + max(self._size(number), 1)

    def _size(self, number: int) -> int:
        start = self._addresses[number]
        after = bisect_right(self._addresses, start)
        if after == len(self._addresses):
            return 0
        end = self._addresses[after]
        # Between the per-CPU variables, which count from 0, and the image is no symbol.
        return end - start if (start < _HALF) == (end < _HALF) else 0

    def _binding(self, number: int) -> drgn.SymbolBinding:
        letter = chr(self._names.name(number)[0])
        if letter.lower() in _BINDINGS:
            return drgn.SymbolBinding.WEAK
        return drgn.SymbolBinding.GLOBAL if letter.isupper() else drgn.SymbolBinding.LOCAL

    def _rank(self, number: int) -> int:
        return _RANKS[self._binding(number)]

    def _symbol(self, number: int) -> drgn.Symbol:
        name = self._names.name(number)
        kind = drgn.SymbolKind.FUNC if name[:1] in b"tTwW" else drgn.SymbolKind.OBJECT
        text = name[1:].decode("utf-8", "backslashreplace")
        return drgn.Symbol(
            text, self._addresses[number], self._size(number), self._binding(number), kind
        )


def _broken(what: str) -> NoReturn:
    raise PageproofError(
        f"the kernel's symbol table is damaged: {what}",
        "kallsyms",
        "give the kernel's System.map or vmlinux with -s",
    )


def can_unpack(places: Mapping[str, int]) -> bool:
    """Return whether VMCOREINFO names the table (since 6.0: f09bddbd8661)."""
    return all(places.get(name) for name in _NEEDED)


def unpack(read: Callable[[int, int], bytes], places: Mapping[str, int]) -> SymbolTable:
    """Read the table of the kernel itself.

    Args:
        read: reads memory: (address, length in bytes).
        places: symbols by name, from VMCOREINFO.

    Raises:
        PageproofError: the table is damaged.
        drgn.FaultError: it cannot be read.
    """
    (count,) = struct.unpack("<I", read(places["kallsyms_num_syms"], 4))
    if not 0 < count <= _MAX_SYMBOLS:
        _broken(f"it has {count} symbols")
    names = _names(read, places, count)
    return SymbolTable(_addresses(read, places, names), names, "kallsyms of the target")


def _names(read: Callable[[int, int], bytes], places: Mapping[str, int], count: int) -> SymbolNames:
    start = places["kallsyms_names"]
    # The next part of the table, with the markers in between, which are not needed.
    end = min((place for place in places.values() if place > start), default=0)
    if not 0 < end - start <= _MAX_NAMES_BYTES:
        _broken(f"its names take {end - start} bytes")
    tokens = _tokens(read, places)
    try:
        return engine.unpack_symbols(read(start, end - start), count, tokens)
    except ValueError as error:
        _broken(f"{error}, of {count} in {end - start} bytes")


def _tokens(read: Callable[[int, int], bytes], places: Mapping[str, int]) -> tuple[bytes, ...]:
    table, index = places["kallsyms_token_table"], places.get("kallsyms_token_index", 0)
    if index:
        starts = struct.unpack(f"<{_TOKENS}H", read(index, 2 * _TOKENS))
        # The table is a prefix of what is read, which ends where the index begins.
        length = index - table
        if not 0 < length <= 1 << 16:
            _broken(f"its tokens take {length} bytes")
        text = read(table, length)
        found = []
        for start in starts:
            end = text.find(b"\0", start, start + _MAX_TOKEN_BYTES)
            if end < 0:
                _broken(f"the token at byte {start} has no end")
            found.append(text[start:end])
        return tuple(found)
    _broken("it has no index of tokens")


def _addresses(
    read: Callable[[int, int], bytes], places: Mapping[str, int], names: SymbolNames
) -> Sequence[int]:
    """Return the addresses, in the way that puts _stext where VMCOREINFO says."""
    count, text = len(names), places.get("_stext", 0)
    number = next((one for one in names.find(b"_stext") if names.name(one) == b"T_stext"), -1)
    for found in _readings(read, places, count):
        if found is not None and number >= 0 and found[number] == text:
            return found
    _broken(f"its addresses are not in order, with _stext at {text:#x}")


def _readings(
    read: Callable[[int, int], bytes], places: Mapping[str, int], count: int
) -> Iterator[Sequence[int] | None]:
    """Yield the addresses in each way that they may be written; None if not in order."""
    at = places.get("kallsyms_offsets", 0)
    if at:
        offsets = read(at, 4 * count)
        base = places.get("kallsyms_relative_base", 0)
        if base:
            (base,) = struct.unpack("<Q", read(base, 8))
            # CONFIG_KALLSYMS_ABSOLUTE_PERCPU, until 6.15.
            yield engine.symbol_addresses(offsets, engine.OFFSETS_PERCPU, base)
            yield engine.symbol_addresses(offsets, engine.OFFSETS_BASE, base)
        else:  # as in 7.2
            yield engine.symbol_addresses(offsets, engine.OFFSETS_PLACE, at)
    elif places.get("kallsyms_addresses"):
        found = array("Q", read(places["kallsyms_addresses"], 8 * count)).tolist()
        yield found if sorted(found) == found else None
    else:
        _broken("VMCOREINFO names neither its offsets nor its addresses")


def parse(data: bytes, source: str, shift: int = 0) -> SymbolTable:
    """Read text in the format of ``/proc/kallsyms`` and ``System.map``.

    Args:
        data: the text; symbols of modules are left out.
        source: the file, for messages.
        shift: added to the addresses of the image (KASLR).

    Raises:
        PageproofError: it is not in this format, or hides addresses.
    """
    if len(data) > _MAX_TEXT_BYTES:
        raise PageproofError(f"it has more than {_MAX_TEXT_BYTES} bytes", source, _GIVE)
    try:
        addresses, names = engine.parse_symbols(data, shift)
    except ValueError as error:
        raise PageproofError(f"this is no table of symbols: {error}", source, _GIVE) from None
    if not addresses or not addresses[-1]:
        raise PageproofError(
            "no symbols, or their addresses are hidden",
            source,
            "become root (kernel.kptr_restrict)",
        )
    return SymbolTable(addresses, names, source)
