# SPDX-License-Identifier: GPL-2.0-or-later
"""VMCOREINFO in the notes of an ELF core: of ``/proc/kcore`` or of a dump.

Source: ``elf.h`` (Elf64_Nhdr); the kernel's ``append_elf_note()`` (kernel/vmcore_info.c).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final

#: Returns the bytes at an offset, fewer at the end of the file.
Read = Callable[[int, int], bytes]
_PT_NOTE: Final = 4
_PHDR_BYTES: Final = 56
_NOTE: Final = struct.Struct("<III")
_NAME: Final = b"VMCOREINFO\0"
#: Limits: of program headers that are searched, and of notes. With some thousands of CPUs the
#: notes have a few MiB.
_MAX_HEADERS: Final = 1 << 16
_MAX_NOTE_BYTES: Final = 64 << 20


def vmcoreinfo_note(read: Read) -> str | None:
    """Return the VMCOREINFO of a 64-bit little-endian ELF core; None if it has none."""
    content = vmcoreinfo_of(read, _note_ranges(read))
    return None if content is None else vmcoreinfo_text(content)


def vmcoreinfo_text(content: bytes) -> str:
    """Return the text in the content of a note."""
    return content.partition(b"\0")[0].decode("utf-8", "replace")


def vmcoreinfo_of(read: Read, notes: Iterable[tuple[int, int]]) -> bytes | None:
    """Return the content of the note VMCOREINFO; None if there is none.

    Args:
        read: reads the ELF file.
        notes: offset and length of each PT_NOTE.
    """
    for offset, length in notes:
        for name, content in _notes(read(offset, min(length, _MAX_NOTE_BYTES))):
            if name == _NAME:
                return content
    return None


def _note_ranges(read: Read) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each PT_NOTE of a 64-bit little-endian ELF file."""
    head = read(0, 64)
    if len(head) < 64 or head[:6] != b"\x7fELF\2\1":
        return
    (headers_at,) = struct.unpack_from("<Q", head, 32)
    (count,) = struct.unpack_from("<H", head, 56)
    for number in range(min(count, _MAX_HEADERS)):
        header = read(headers_at + number * _PHDR_BYTES, _PHDR_BYTES)
        if len(header) < _PHDR_BYTES:
            return
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", header)
        if kind == _PT_NOTE:
            yield start, length


def _notes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, content) of each note."""
    at = 0
    while at + _NOTE.size <= len(data):
        name_bytes, content_bytes, _ = _NOTE.unpack_from(data, at)
        name_at = at + _NOTE.size
        content_at = name_at + (name_bytes + 3) // 4 * 4
        at = content_at + (content_bytes + 3) // 4 * 4
        yield data[name_at : name_at + name_bytes], data[content_at : content_at + content_bytes]
