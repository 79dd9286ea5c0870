# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's RAM in the memory of its QEMU, for a search through all of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Final

from pageproof.attach.guestmemory import GuestMemory
from pageproof.attach.physical import HEAD_BYTES, Heads
from pageproof.space.units import PAGE_BYTES

#: Pages at a time.
_SLICE_PAGES: Final = 1 << 14
#: Bits of /proc/PID/pagemap in the top byte: present, swapped (Documentation/admin-guide/mm).
_THERE: Final = bytes(1 if byte & 0xC0 else 0 for byte in range(256))
_ENTRY_BYTES: Final = 8
_RUN: Final = re.compile(rb"\x01+")


class ProcessMemory:
    """RAM of a guest, and a way to read single addresses.

    The guest never touched most of a large RAM. QEMU has no page there, and reading one would make
    the host provide it. Such pages are left out: they are zeros.

    Args:
        memory: with its parts.
        read: reads physical memory, by its own way; raises MemoryGap.
    """

    def __init__(self, memory: GuestMemory, read: Callable[[int, int], bytes]) -> None:
        self._memory, self.read = memory, read
        self.ranges = tuple((paddr, length) for paddr, length, _ in memory.parts)

    def heads(self, paddr: int, length: int) -> Iterator[Heads]:
        host = next(
            address + paddr - first
            for first, bytes_, address in self._memory.parts
            if first <= paddr < first + bytes_
        )
        try:
            pagemap = os.open(f"/proc/{self._memory.pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            yield from self._read(paddr, host, length // PAGE_BYTES)
            return
        try:
            for at, pages in _runs_there(pagemap, host // PAGE_BYTES, length // PAGE_BYTES):
                yield from self._read(paddr + at * PAGE_BYTES, host + at * PAGE_BYTES, pages)
        finally:
            os.close(pagemap)

    def _read(self, paddr: int, host: int, pages: int) -> Iterator[Heads]:
        for at in range(0, pages, _SLICE_PAGES):
            some = min(_SLICE_PAGES, pages - at)
            where = at * PAGE_BYTES
            data, stride = self._heads(host + where, some)
            yield Heads(paddr + where, memoryview(data), stride)

    def _heads(self, host: int, pages: int) -> tuple[bytes, int]:
        try:
            from pageproof_pagewalk import read_heads
        except ImportError:  # the engine was not built
            whole = os.pread(self._memory.descriptor, pages * PAGE_BYTES, host)
            return whole.ljust(pages * PAGE_BYTES, b"\0"), PAGE_BYTES
        try:
            return read_heads(self._memory.pid, host, pages, PAGE_BYTES, HEAD_BYTES), HEAD_BYTES
        except OSError:  # it has ended; the next read of the descriptor says so
            return bytes(pages * HEAD_BYTES), HEAD_BYTES


def _runs_there(pagemap: int, first: int, pages: int) -> Iterator[tuple[int, int]]:
    """Yield (page, pages) of the runs of pages that a process has, counted from the first."""
    for at in range(0, pages, _SLICE_PAGES):
        some = min(_SLICE_PAGES, pages - at)
        entries = os.pread(pagemap, some * _ENTRY_BYTES, (first + at) * _ENTRY_BYTES)
        there = entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES].translate(_THERE)
        for run in _RUN.finditer(there):
            yield at + run.start(), run.end() - run.start()
