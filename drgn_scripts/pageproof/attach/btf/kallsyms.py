# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbols of the kernel: from its own compressed table, ``/proc/kallsyms`` or a ``System.map``.

Sources: ``kernel/kallsyms.c``, ``scripts/kallsyms.c``.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Final, NoReturn

import drgn

from pageproof.errors import PageproofError
from pageproof.space.units import ADDRESS_LAST

#: Limits. Debian's kernels have some 160,000 symbols, whose packed names take 2 MB.
_MAX_SYMBOLS: Final = 1 << 21
_MAX_NAMES_BYTES: Final = 32 << 20
_MAX_TEXT_BYTES: Final = 256 << 20
#: Limit of the names when they are unpacked.
_MAX_PLAIN_BYTES: Final = 256 << 20
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


class SymbolTable:
    """Symbols, sorted by address. A symbol ends where the next one begins."""

    def __init__(self, addresses: Sequence[int], names: bytes, source: str) -> None:
        """Index the symbols.

        Args:
            addresses: sorted.
            names: in this order, each with a NUL before it, and the letter of its type as in nm(1).
            source: where they come from, for messages.
        """
        self.source = source
        self._addresses, self._text = addresses, names + b"\0"
        self._names = names.split(b"\0")[1:]
        # Where the name with a number begins; one byte more for each NUL.
        self._starts = array("Q", accumulate(map(len, self._names), initial=0))
        self._found: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def address(self, name: str) -> int:
        """Return the address of a symbol.

        Raises:
            LookupError: there is none.
        """
        return self._addresses[self._best(name)]

    def extent(self, name: str) -> int:
        """Return the bytes from a symbol to the next one; 0 if not known.

        Raises:
            LookupError: there is no such symbol.
        """
        return self._size(self._best(name))

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
        """Return the symbols with a name. A search is faster than an index of all names."""
        if name not in self._found:
            text, found = self._text, []
            pattern = name.encode("utf-8", "replace") + b"\0"
            at = text.find(pattern)
            while at >= 0 and name:
                if at > 1 and not text[at - 2]:  # the letter of the type is in between
                    found.append(self._number(at - 1))
                at = text.find(pattern, at + 1)
            self._found[name] = found
        return self._found[name]

    def _number(self, at: int) -> int:
        """Return the number of the symbol whose name begins at a byte."""
        return bisect_left(range(len(self._names)), at, key=lambda n: self._starts[n] + n + 1)

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
        letter = chr(self._names[number][0])
        if letter.lower() in _BINDINGS:
            return drgn.SymbolBinding.WEAK
        return drgn.SymbolBinding.GLOBAL if letter.isupper() else drgn.SymbolBinding.LOCAL

    def _rank(self, number: int) -> int:
        return _RANKS[self._binding(number)]

    def _symbol(self, number: int) -> drgn.Symbol:
        name = self._names[number]
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
    return SymbolTable(_addresses(read, places, count, names), names, "kallsyms of the target")


def _names(read: Callable[[int, int], bytes], places: Mapping[str, int], count: int) -> bytes:
    start = places["kallsyms_names"]
    # The next part of the table, with the markers in between, which are not needed.
    end = min((place for place in places.values() if place > start), default=0)
    if not 0 < end - start <= _MAX_NAMES_BYTES:
        _broken(f"its names take {end - start} bytes")
    packed = read(start, end - start)
    token_of = _tokens(read, places)
    pieces = list(map(token_of.__getitem__, packed))
    at, limit = 0, len(packed)
    try:
        for _ in range(count):
            length = packed[at]
            pieces[at] = b"\0"
            if length & 0x80:  # since 6.1: 73bbb94466fd
                length = length & 0x7F | packed[at + 1] << 7
                at += 1
                pieces[at] = b""
            at += 1 + length
    except IndexError:
        at = limit + 1
    if at > limit:
        _broken(f"its names do not end within {limit} bytes")
    if sum(map(len, pieces[:at])) > _MAX_PLAIN_BYTES:
        _broken("its names are too long")
    names = b"".join(pieces[:at])
    if names.count(b"\0") != count or b"\0\0" in names or names.endswith(b"\0"):
        _broken(f"{count} symbols have {names.count(0)} names, some empty")
    return names


def _tokens(read: Callable[[int, int], bytes], places: Mapping[str, int]) -> list[bytes]:
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
        return found
    _broken("it has no index of tokens")


def _addresses(
    read: Callable[[int, int], bytes], places: Mapping[str, int], count: int, names: bytes
) -> list[int]:
    """Return the addresses, in the way that puts _stext where VMCOREINFO says."""
    candidates: tuple[Callable[[], list[int]], ...]
    if places.get("kallsyms_offsets"):
        offsets = array("i", read(places["kallsyms_offsets"], 4 * count))
        base = places.get("kallsyms_relative_base", 0)
        if base:
            (base,) = struct.unpack("<Q", read(base, 8))
        at = places["kallsyms_offsets"]

        def absolute() -> list[int]:
            # CONFIG_KALLSYMS_ABSOLUTE_PERCPU, until 6.15: those that are not negative.
            return [one if one >= 0 else base - 1 - one for one in offsets]

        def relative() -> list[int]:
            return [base + (one & 0xFFFFFFFF) for one in offsets]

        def to_itself() -> list[int]:
            # Without kallsyms_relative_base, as in 7.2: relative to the entry.
            return [at + 4 * number + one for number, one in enumerate(offsets)]

        candidates = (absolute, relative) if base else (to_itself,)
    elif places.get("kallsyms_addresses"):
        candidates = (array("Q", read(places["kallsyms_addresses"], 8 * count)).tolist,)
    else:
        _broken("VMCOREINFO names neither its offsets nor its addresses")
    text = places.get("_stext", 0)
    # The names do not end with a NUL, but _stext is not the last.
    number = names.count(b"\0", 0, names.find(b"T_stext\0")) - 1
    for candidate in candidates:
        found = candidate()
        in_order = found[0] >= 0 and found[-1] <= ADDRESS_LAST and sorted(found) == found
        if number >= 0 and found[number] == text and in_order:
            return found
    _broken(f"its addresses are not in order, with _stext at {text:#x}")


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
        raise PageproofError(f"it has {len(data)} bytes", source, "give a System.map")
    rows = []
    for line in data.splitlines():
        words = line.split()
        if len(words) != 3 or len(words[1]) != 1:
            if len(words) == 4 and words[3].startswith(b"["):
                continue
            raise PageproofError(
                f"this is no table of symbols: {line[:40]!r}", source, "give a System.map"
            )
        try:
            address = int(words[0], 16)
        except ValueError:
            raise PageproofError(
                f"this is no table of symbols: {line[:40]!r}", source, "give a System.map"
            ) from None
        if address >= _HALF:
            address += shift
        rows.append((address, words[1] + words[2]))
        if len(rows) > _MAX_SYMBOLS:
            raise PageproofError(f"it has more than {_MAX_SYMBOLS} symbols", source)
    if not any(address for address, _ in rows):
        raise PageproofError(
            "no symbols, or their addresses are hidden",
            source,
            "become root (kernel.kptr_restrict)",
        )
    rows.sort(key=lambda row: row[0])
    names = b"".join(b"\0" + name for _, name in rows)
    return SymbolTable([address for address, _ in rows], names, source)
