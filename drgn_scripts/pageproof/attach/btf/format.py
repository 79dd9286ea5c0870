# SPDX-License-Identifier: GPL-2.0-or-later
"""The format of BTF, and an index of it by id and by name.

Nothing is trusted: each read is bounded by the section that it belongs to.

Sources: ``include/uapi/linux/btf.h``, ``Documentation/bpf/btf.rst``.
"""

from __future__ import annotations

import struct
from array import array
from enum import IntEnum
from typing import Final, NoReturn

from pageproof.errors import PageproofError

#: Limit of one BTF. Kernels have 3 to 10 MB.
MAX_BYTES: Final = 64 << 20
_HEADER: Final = struct.Struct("<HBBIIIII")
_MAGIC: Final = 0xEB9F
_VERSION: Final = 1
#: Limit of the length of a name; the kernel's own is 512 (KSYM_NAME_LEN).
_MAX_NAME_BYTES: Final = 1024
#: Limit of hits of a name that are looked at. Few names are shared by more than three types.
_MAX_HITS: Final = 4096

REMEDY: Final = "give the kernel's vmlinux with -s, or install its debug package"


class Kind(IntEnum):
    """``BTF_KIND_*``."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


#: Words after ``struct btf_type``, and words per element, by kind.
_FIXED: Final = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VAR: 1, Kind.DECL_TAG: 1}
_EACH: Final = {
    Kind.STRUCT: 3,
    Kind.UNION: 3,
    Kind.ENUM: 2,
    Kind.FUNC_PROTO: 2,
    Kind.DATASEC: 3,
    Kind.ENUM64: 3,
}
_ENUM_STEPS: Final = {int(Kind.ENUM): _EACH[Kind.ENUM], int(Kind.ENUM64): _EACH[Kind.ENUM64]}
_KINDS: Final = frozenset(Kind) - {Kind.VOID}


class Btf:
    """BTF of the kernel or, split, of a module: its ids and names go on where the base's end.

    Attributes:
        where: its source, for messages.
        base: the kernel's BTF if this is a module's.
        first: the first id that is its own.
        count: one more than the last id.
    """

    def __init__(self, data: bytes, where: str, base: Btf | None = None) -> None:
        """Check the header and find where each type begins.

        Raises:
            PageproofError: the BTF is damaged.
        """
        self.where, self.base = where, base
        types, self._strings = self._sections(data)
        self._first_string: int = base.end_of_strings if base else 0
        self.end_of_strings: int = self._first_string + len(self._strings)
        self._bytes = types
        self._words = memoryview(types).cast("I")
        self._at = self._find_types()
        self.first: int = base.count if base else 1
        self.count: int = self.first + len(self._at)
        words = self._words
        self._names = array("I", [words[at] for at in self._at]).tobytes()
        self._ids: dict[str, tuple[int, ...]] = {}
        self._enumerators: dict[int, list[int]] | None = None

    def _sections(self, data: bytes) -> tuple[bytes, bytes]:
        if len(data) > MAX_BYTES:
            self.broken(f"it has {len(data)} bytes, more than {MAX_BYTES}")
        if len(data) < _HEADER.size:
            self.broken(f"it ends after {len(data)} bytes, in its header")
        magic, version, _, header, type_at, type_bytes, string_at, string_bytes = (
            _HEADER.unpack_from(data)
        )
        if magic != _MAGIC or version != _VERSION:
            self.broken(f"magic {magic:#x}, version {version} are not BTF's")
        if header < _HEADER.size or header % 4 or type_at % 4 or type_bytes % 4:
            self.broken("its sections are not aligned")
        for name, at, length in (
            ("types", type_at, type_bytes),
            ("strings", string_at, string_bytes),
        ):
            if header + at + length > len(data):
                end = header + at + length
                self.broken(f"its {name} end at byte {end}, of {len(data)}")
        strings = data[header + string_at : header + string_at + string_bytes]
        if not strings.endswith(b"\0") or (self.base is None and strings[0]):
            self.broken("its strings do not begin and end with a NUL")
        return data[header + type_at : header + type_at + type_bytes], strings

    def _find_types(self) -> array[int]:
        """Return where each type begins, in words."""
        words, at, found = self._words, 0, array("I")
        end, append = len(words), found.append
        # One step for each value of the five bits, and of the flag that is in between.
        fixed = [3 + _FIXED.get(Kind(kind), 0) if kind in _KINDS else 0 for kind in range(32)]
        each = [_EACH.get(Kind(kind), 0) if kind in _KINDS else 0 for kind in range(32)]
        while at + 2 < end:
            info = words[at + 1]
            kind = info >> 24 & 31
            step = fixed[kind]
            if not step:
                self.broken(f"byte {4 * at} of its types begins a type of unknown kind {kind}")
            append(at)
            at += step + each[kind] * (info & 0xFFFF)
        if at != end:
            self.broken(f"its last type ends at byte {4 * at}, its types at {4 * end}")
        return found

    def broken(self, what: str) -> NoReturn:
        """Raise the error for damaged BTF."""
        raise PageproofError(f"the BTF is damaged: {what}", self.where, REMEDY)

    def at(self, type_id: int) -> tuple[Btf, int]:
        """Return the BTF that has a type, and where it begins there.

        Raises:
            PageproofError: there is no such type.
        """
        if not 0 < type_id < self.count:
            self.broken(f"type {type_id} does not exist; the last is {self.count - 1}")
        if type_id < self.first:
            assert self.base is not None
            return self.base.at(type_id)
        return self, self._at[type_id - self.first]

    def head(self, type_id: int) -> tuple[str, Kind, int, bool, int]:
        """Return (name, kind, number of elements, flag, size in bytes or id) of a type."""
        if type_id == 0:
            return "", Kind.VOID, 0, False, 0
        owner, at = self.at(type_id)
        name, info, size = owner._words[at : at + 3]
        return owner.string(name), Kind(info >> 24 & 31), info & 0xFFFF, bool(info >> 31), size

    def after(self, type_id: int) -> memoryview:
        """Return the words that follow ``struct btf_type``."""
        owner, at = self.at(type_id)
        info = owner._words[at + 1]
        kind = Kind(info >> 24 & 31)
        length = _FIXED.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
        return owner._words[at + 3 : at + 3 + length]

    def string(self, offset: int) -> str:
        """Return a string.

        Raises:
            PageproofError: the offset is outside the strings.
        """
        if offset < self._first_string and self.base is not None:
            return self.base.string(offset)
        start = offset - self._first_string
        if start >= len(self._strings):
            self.broken(f"a name is at byte {offset} of the strings, of {self.end_of_strings}")
        end = self._strings.find(b"\0", start, start + _MAX_NAME_BYTES)
        if end < 0:
            self.broken(f"the name at byte {offset} of the strings is too long")
        return self._strings[start:end].decode("utf-8", "backslashreplace")

    def ids(self, name: str) -> tuple[int, ...]:
        """Return the own types with a name, lowest first."""
        if name not in self._ids:
            self._ids[name] = tuple(
                self.first + position
                for offset in self._offsets(name)
                for position in _find_words(self._names, offset)
            )
        return self._ids[name]

    def enumerators(self, name: str) -> tuple[int, ...]:
        """Return the own enumerations that have an enumerator with a name, lowest first."""
        if self._enumerators is None:
            self._enumerators = self._list_enumerators()
        return tuple(
            type_id
            for offset in self._offsets(name)
            for type_id in self._enumerators.get(offset, ())
        )

    def marks_signed(self) -> bool:
        """Return whether enumerations with negative values have the flag for it."""
        enumeration = 1 << 31 | Kind.ENUM << 24
        words = self._words
        return any(words[at + 1] & 0x9F00_0000 == enumeration for at in self._at) or (
            self.base is not None and self.base.marks_signed()
        )

    def _list_enumerators(self) -> dict[int, list[int]]:
        """Return the enumerations by the offset of an enumerator's name."""
        words, found = self._words, dict[int, list[int]]()
        for number, at in enumerate(self._at, self.first):
            info = words[at + 1]
            step = _ENUM_STEPS.get(info >> 24 & 31)
            if step:
                for name in words[at + 3 : at + 3 + step * (info & 0xFFFF) : step]:
                    found.setdefault(name, []).append(number)
        return found

    def _offsets(self, name: str) -> list[int]:
        """Return the offsets of a name: in the own strings, and in the base's.

        Each string is written once and for itself (``btf__dedup()`` of libbpf).
        """
        found = self.base._offsets(name) if self.base else []
        wanted = name.encode("utf-8", "replace") + b"\0"
        if self.base is not None and self._strings.startswith(wanted):
            found.append(self._first_string)  # a module's strings begin with a name, not a NUL
        else:
            at = self._strings.find(b"\0" + wanted)
            if at >= 0 and name:
                found.append(self._first_string + at + 1)
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
