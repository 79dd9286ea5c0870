# SPDX-License-Identifier: GPL-2.0-or-later
"""The format of BTF.

Nothing is trusted: each read is bounded by the section that it belongs to.

Sources: ``include/uapi/linux/btf.h``, ``Documentation/bpf/btf.rst``.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NoReturn

from pageproof.attach.btf.engine import engine
from pageproof.errors import PageproofError

#: Limit of one BTF. Kernels have 3 to 10 MB.
MAX_BYTES: Final = 32 << 20
_HEADER: Final = struct.Struct("<HBBIIIII")
_MAGIC: Final = 0xEB9F
_VERSION: Final = 1
#: Limit of the length of a name; the kernel's own is 512 (KSYM_NAME_LEN).
_MAX_NAME_BYTES: Final = 1024

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
        self._words = memoryview(types).cast("I")
        try:
            self._index = engine.TypeIndex(types, self._strings, base._strings if base else b"")
        except ValueError as error:
            self.broken(str(error))
        self.first: int = base.count if base else 1
        self.count: int = self.first + len(self._index)

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
        return self, self._index.place(type_id - self.first)

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
        return tuple(self.first + number for number in self._index.find(encoded(name)))

    def enumerators(self, name: str) -> tuple[int, ...]:
        """Return the own enumerations that have an enumerator with a name, lowest first."""
        return tuple(self.first + number for number in self._index.enumerations(encoded(name)))

    def marks_signed(self) -> bool:
        """Return whether enumerations with negative values have the flag for it."""
        return self._index.has_signed() or (self.base is not None and self.base.marks_signed())


def encoded(name: str) -> bytes:
    """Return a name as the tables have it; empty, which nothing is called, if it has a NUL."""
    return b"" if "\0" in name else name.encode("utf-8", "replace")
