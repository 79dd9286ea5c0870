# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages that may hold a VMCOREINFO: only the beginnings of pages are compared.

The kernel keeps the text in a page of its own and, as an ELF note, at the beginning of another
(crash_save_vmcoreinfo_init() of kernel/vmcore_info.c, kernel/crash_core.c before 6.9):

    vmcoreinfo_data   OSRELEASE=6.12…
    vmcoreinfo_note   namesz descsz type "VMCOREINFO\\0" OSRELEASE=6.12…

Programs and files may hold copies, and others may pretend to be one. A search proves nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pageproof.attach.physical import Heads, PhysicalMemory
from pageproof.model import MemoryGap
from pageproof.space.units import PAGE_BYTES

_TEXT: Final = b"OSRELEASE="
_NOTE: Final = b"VMCOREINFO\0"
_NOTE_AT: Final = 12
#: namesz, descsz, type; the name is padded to 4 bytes.
_NOTE_HEADER: Final = struct.Struct("<III")
_NOTE_TEXT_AT: Final = _NOTE_AT + 12
#: Bytes at a time: a progress line for each, and a range may be terabytes.
_SLICE_BYTES: Final = 256 << 20


@dataclass(frozen=True)
class Candidate:
    """A text that looks like VMCOREINFO, at ``paddr``; ``note`` if it is an ELF note's."""

    paddr: int
    text: bytes
    note: bool


def search(
    memory: PhysicalMemory, progress: Callable[[int], None] = lambda done: None
) -> Iterator[Candidate]:
    """Yield every page that begins like a VMCOREINFO, by physical address.

    Args:
        memory: what is searched.
        progress: called now and then with the number of bytes that were searched.
    """
    done = 0
    for first, length in memory.ranges:
        for at in range(first, first + length, _SLICE_BYTES):
            progress(done)
            some = min(_SLICE_BYTES, first + length - at)
            for heads in memory.heads(at, some):
                yield from _in_heads(memory, heads)
            done += some
    progress(done)


def _in_heads(memory: PhysicalMemory, heads: Heads) -> Iterator[Candidate]:
    data, stride = heads.data, heads.stride
    for note, offset, magic in ((False, 0, _TEXT), (True, _NOTE_AT, _NOTE)):
        # One byte of each page, copied without a loop in Python.
        column = data[offset::stride].tobytes()
        page = column.find(magic[0])
        while page >= 0:
            at = page * stride + offset
            if data[at : at + len(magic)] == magic:
                paddr = heads.first + page * PAGE_BYTES
                text = _text_at(memory, paddr, note)
                if text:
                    yield Candidate(paddr, text, note)
            page = column.find(magic[0], page + 1)


def _text_at(memory: PhysicalMemory, paddr: int, note: bool) -> bytes:
    """Return the text in a page; b"" if it cannot be read or is none."""
    try:
        page = memory.read(paddr, PAGE_BYTES)
        if note:
            name_bytes, length, _ = _NOTE_HEADER.unpack_from(page)
            # vmcoreinfo_data is one page (VMCOREINFO_BYTES).
            if name_bytes != len(_NOTE) or not 0 < length <= PAGE_BYTES:
                return b""
            page = memory.read(paddr + _NOTE_TEXT_AT, length)
    except MemoryGap:
        return b""
    text = page.partition(b"\0")[0]
    return text if text.startswith(_TEXT) else b""
