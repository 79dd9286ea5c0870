# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical memory that a test has."""

import bisect
from collections.abc import Iterator, Sequence

from pageproof.attach.physical import Heads
from pageproof.model import MemoryGap, Outcome
from pageproof.space.units import PAGE_BYTES


class MappedMemory:
    """Memory in parts; see :class:`pageproof.attach.physical.PhysicalMemory`.

    Args:
        parts: (paddr, bytes), sorted and apart.
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
