# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical memory before anything is known about what runs in it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from pageproof.model import MemoryGap, Outcome
from pageproof.space.units import PAGE_BYTES

#: Bytes of each page's beginning that a search sees.
HEAD_BYTES: Final = 32


class Heads(NamedTuple):
    """The beginnings of pages that follow each other.

    Attributes:
        first: physical address of the first page.
        data: HEAD_BYTES or more of each page.
        stride: bytes from one beginning to the next in ``data``.
    """

    first: int
    data: memoryview
    stride: int


class PhysicalMemory(Protocol):
    """Physical memory of a machine, by a way that needs no knowledge of its kernel."""

    @property
    def ranges(self) -> Sequence[tuple[int, int]]:
        """(paddr, length in bytes) of the memory, sorted, apart, whole pages."""

    def read(self, paddr: int, length: int) -> bytes:
        """Read memory.

        Raises:
            MemoryGap: it cannot be read, or it is not in one range.
        """

    def heads(self, paddr: int, length: int) -> Iterator[Heads]:
        """Yield the beginnings of the pages inside one range.

        Pages that cannot be read are left out, or read as zeros.
        """


class MappedMemory:
    """Memory that is mapped here, such as an image.

    Args:
        parts: (paddr, bytes), sorted and apart. A file that is truncated later is a SIGBUS.
    """

    def __init__(self, parts: Sequence[tuple[int, memoryview]]) -> None:
        self._parts = tuple(parts)
        self._starts = [paddr for paddr, _ in self._parts]
        self.ranges = tuple((paddr, len(data) & -PAGE_BYTES) for paddr, data in self._parts)

    def read(self, paddr: int, length: int) -> bytes:
        return bytes(self._slice(paddr, length))

    def heads(self, paddr: int, length: int) -> Iterator[Heads]:
        yield Heads(paddr, self._slice(paddr, length), PAGE_BYTES)

    def _slice(self, paddr: int, length: int) -> memoryview:
        at = bisect.bisect_right(self._starts, paddr) - 1
        if at >= 0:
            start, data = self._parts[at]
            if paddr - start + length <= len(data):
                return data[paddr - start : paddr - start + length]
        raise MemoryGap(Outcome.UNREADABLE, f"{paddr:#x} is not in the memory")
