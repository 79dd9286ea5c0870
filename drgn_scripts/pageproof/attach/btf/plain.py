# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbols and types by name, in Python: what ``c-helper/btf`` does, if the engine was not built.

``pageproof_pagewalk_btf.pyi`` describes these functions and classes; a test compares both.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from pageproof.space.units import ADDRESS_LAST

OFFSETS_PERCPU: Final = 0
OFFSETS_BASE: Final = 1
OFFSETS_PLACE: Final = 2

_MAX_SYMBOLS: Final = 1 << 21
_MAX_TEXT_BYTES: Final = 256 << 20
_MAX_HITS: Final = 4096
_LINE: Final = re.compile(rb"([0-9a-f]{1,16}) ([!-\xff]) ([!-\xff]+)(?:\t(\[)[^\n]*)?\n?")

#: Words of a type, and of each of its elements, by ``BTF_KIND_*``; 0 for unknown kinds.
_WORDS: Final = (0, 4, 3, 6, *(3,) * 10, 4, 3, 3, 4, 3, 3, *(0,) * 12)
_WORDS_EACH: Final = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}
_ENUM: Final = 6
_ENUM64: Final = 19


class SymbolNames:
    """The names of symbols."""

    def __init__(self, text: bytes) -> None:
        """Take the letter and the name of each symbol, with a NUL before each."""
        self._text = text + b"\0"
        self._names = text.split(b"\0")[1:]
        # Where the name with a number begins; one byte more for each NUL.
        self._starts = array("Q", accumulate(map(len, self._names), initial=0))

    def __len__(self) -> int:
        return len(self._names)

    def name(self, number: int, /) -> bytes:
        return self._names[number]

    def find(self, name: bytes, /) -> list[int]:
        """A search is faster than an index of all names."""
        text, found, pattern = self._text, list[int](), name + b"\0"
        at = text.find(pattern)
        while at >= 0 and name and len(found) < _MAX_HITS:
            if at > 1 and not text[at - 2]:  # the letter of the type is in between
                found.append(self._number(at - 1))
            at = text.find(pattern, at + 1)
        return found

    def _number(self, at: int) -> int:
        return bisect_left(range(len(self._names)), at, key=lambda n: self._starts[n] + n + 1)


def unpack_symbols(packed: bytes, count: int, tokens: tuple[bytes, ...], /) -> SymbolNames:
    pieces = list(map(tokens.__getitem__, packed))
    at, limit = 0, len(packed)
    try:
        for _ in range(count):
            length = packed[at]
            pieces[at] = b"\0"
            if length & 0x80 and at + 1 < limit:  # since 6.1: 73bbb94466fd
                length = length & 0x7F | packed[at + 1] << 7
                at += 1
                pieces[at] = b""
            at += 1 + length
    except IndexError:
        at = limit + 1
    if at > limit:
        raise ValueError("its names end too early")
    if sum(map(len, pieces[:at])) > _MAX_TEXT_BYTES:
        raise ValueError("its names are too long")
    names = b"".join(pieces[:at])
    if b"\0\0" in names or names.endswith(b"\0"):
        raise ValueError("a name is empty")
    return SymbolNames(names)


def parse_symbols(text: bytes, shift: int, /) -> tuple[Sequence[int], SymbolNames]:
    rows, at = list[tuple[int, bytes]](), 0
    while at < len(text):
        line = _LINE.match(text, at)
        if line is None or (line.end() < len(text) and text[line.end() - 1] != 10):
            raise ValueError(f"byte {at} begins no line of a table of symbols")
        at = line.end()
        if line[4] is None:
            address = int(line[1], 16)
            rows.append(
                (address + shift if address > ADDRESS_LAST // 2 else address, line[2] + line[3])
            )
        if len(rows) > _MAX_SYMBOLS:
            raise ValueError("it has too many symbols")
    rows.sort(key=lambda row: row[0])
    names = SymbolNames(b"".join(b"\0" + name for _, name in rows))
    return [address & ADDRESS_LAST for address, _ in rows], names


def symbol_addresses(offsets: bytes, form: int, base: int, /) -> Sequence[int] | None:
    values = array("i", offsets)
    if form == OFFSETS_BASE:
        found = [base + (one & 0xFFFF_FFFF) for one in values]
    elif form == OFFSETS_PLACE:
        found = [base + 4 * number + one for number, one in enumerate(values)]
    else:
        found = [one if one >= 0 else base - 1 - one for one in values]
    found = [address & ADDRESS_LAST for address in found]
    return found if sorted(found) == found else None


class TypeIndex:
    """The types of one BTF."""

    def __init__(self, types: bytes, strings: bytes, base: bytes) -> None:
        """Find where each type begins, in words."""
        self._words = memoryview(types).cast("I")
        self._strings, self._base = strings, base
        self._at = self._find_types()
        self._names = array("I", [self._words[at] for at in self._at]).tobytes()
        self._enumerations: dict[int, list[int]] | None = None

    def __len__(self) -> int:
        return len(self._at)

    def place(self, number: int, /) -> int:
        return self._at[number]

    def has_signed(self) -> bool:
        wanted = 1 << 31 | _ENUM << 24
        return any(self._words[at + 1] & 0x9F00_0000 == wanted for at in self._at)

    def find(self, name: bytes, /) -> list[int]:
        found = [n for offset in self._offsets(name) for n in _find_words(self._names, offset)]
        return found[:_MAX_HITS]

    def enumerations(self, name: bytes, /) -> list[int]:
        if self._enumerations is None:
            self._enumerations = self._list_enumerators()
        offsets = self._offsets(name)
        return [n for offset in offsets for n in self._enumerations.get(offset, ())][:_MAX_HITS]

    def _find_types(self) -> array[int]:
        words, at, found = self._words, 0, array("I")
        end, append = len(words), found.append
        each = [_WORDS_EACH.get(kind, 0) for kind in range(32)]
        while at + 2 < end:
            info = words[at + 1]
            kind = info >> 24 & 31
            step = _WORDS[kind]
            if not step:
                raise ValueError(f"byte {4 * at} of its types begins a type of unknown kind")
            append(at)
            at += step + each[kind] * (info & 0xFFFF)
        if at != end:
            place = 4 * at
            raise ValueError(f"its types do not end where the last one does, at byte {place}")
        return found

    def _list_enumerators(self) -> dict[int, list[int]]:
        """Return the enumerations by the offset of an enumerator's name."""
        words, found = self._words, dict[int, list[int]]()
        for number, at in enumerate(self._at):
            info = words[at + 1]
            kind = info >> 24 & 31
            if kind in (_ENUM, _ENUM64):
                step = _WORDS_EACH[kind]
                for name in words[at + 3 : at + 3 + step * (info & 0xFFFF) : step]:
                    found.setdefault(name, []).append(number)
        return found

    def _offsets(self, name: bytes) -> list[int]:
        """Return the offsets of a name: in the base's strings, and in the own ones.

        Each string is written once and for itself (``btf__dedup()`` of libbpf).
        """
        if not name:
            return []
        found, pattern = [], name + b"\0"
        for strings, start in (self._base, 0), (self._strings, len(self._base)):
            # A module's strings begin with a name, not with a NUL.
            at = 0 if strings.startswith(pattern) else strings.find(b"\0" + pattern) + 1
            if at or strings.startswith(pattern):
                found.append(start + at)
        return found


def _find_words(data: bytes, word: int) -> list[int]:
    """Return the indexes of the aligned words that have a value."""
    pattern, found = struct.pack("<I", word), list[int]()
    at = data.find(pattern)
    while at >= 0 and len(found) < _MAX_HITS:
        if at % 4 == 0:
            found.append(at // 4)
        at = data.find(pattern, at + 1)
    return found
