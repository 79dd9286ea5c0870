# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical memory in an ELF dump or an image: its place in the file, and what was omitted.

Segments may overlap: /proc/vmcore has the kernel's text in its own segment and in the segment of
all memory. The later program header takes precedence, as in drgn.
"""

from __future__ import annotations

import bisect
import heapq
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import BinaryIO, Final

from pageproof.model import MemoryGap, Outcome

_PADDR_END: Final = 1 << 64
#: p_paddr of a segment without a physical address, as in drgn.
_NO_PADDR: Final = _PADDR_END - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """One PT_LOAD: ``memory_bytes`` at ``paddr``; the first ``file_bytes`` are in the file.

    Attributes:
        order: position of the program header.
        vaddr: where it is mapped; None for memory of a file that has no virtual addresses.
    """

    paddr: int
    memory_bytes: int
    file_bytes: int
    order: int
    file_offset: int = 0
    vaddr: int | None = None

    @property
    def end(self) -> int:
        return min(self.paddr + self.memory_bytes, _PADDR_END)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a segment that no later segment covers. Without an offset it was omitted."""

    paddr: int
    length: int
    file_offset: int | None


class ElfMap:
    """The physical memory of an ELF dump.

    Args:
        segments: in any order. ``order`` is the position of the program header.
        memory: the whole file, if it could be mapped.
    """

    def __init__(self, segments: list[Segment], memory: memoryview | None = None) -> None:
        self.pieces = pieces_of(segments)
        self._starts = [piece.paddr for piece in self.pieces]
        self._memory = memory
        self._segments = segments

    def omitted(self) -> Iterator[tuple[int, int, bool]]:
        """Yield (address, length, whether it is physical) of what the dump names and omits."""
        virtual = [replace(one, paddr=one.vaddr) for one in self._segments if one.vaddr is not None]
        for physical, pieces in ((True, self.pieces), (False, pieces_of(virtual))):
            for piece in pieces:
                if piece.file_offset is None:
                    yield piece.paddr, piece.length, physical

    def is_excluded(self, paddr: int, length: int) -> bool:
        """Return whether the dump names this memory but does not have all of it."""
        end = paddr + length
        at = bisect.bisect_right(self._starts, paddr) - 1
        for piece in self.pieces[max(at, 0) : bisect.bisect_left(self._starts, end)]:
            if not piece.paddr <= paddr < piece.paddr + piece.length:
                return False  # in no segment: unreadable, but not excluded
            if piece.file_offset is None:
                return True
            paddr = piece.paddr + piece.length
        return False

    def read(self, paddr: int, length: int) -> bytes:
        """Read memory from the mapped file.

        Raises:
            MemoryGap: the dump omits some of it, or does not name it.
        """
        data = bytearray()
        assert self._memory is not None
        while len(data) < length:
            at = bisect.bisect_right(self._starts, paddr + len(data)) - 1
            piece = self.pieces[at] if at >= 0 else None
            skip = paddr + len(data) - (piece.paddr if piece else 0)
            if piece is None or skip >= piece.length:
                raise MemoryGap(Outcome.UNREADABLE, f"{paddr:#x} is in no segment of the dump")
            if piece.file_offset is None:
                raise MemoryGap.left_out(paddr + len(data))
            start = piece.file_offset + skip
            data += self._memory[start : start + min(piece.length - skip, length - len(data))]
        return bytes(data)

    def segments(self) -> list[Segment]:
        """Return the memory that is in the file, by physical address, without overlaps."""
        return [
            Segment(piece.paddr, piece.length, piece.length, order, piece.file_offset)
            for order, piece in enumerate(self.pieces)
            if piece.file_offset is not None
        ]

    def direct(self) -> list[tuple[int, memoryview | int]]:
        """Return the memory that needs no read, by physical address, without overlaps.

        Returns:
            (paddr, the file's bytes), or (paddr, length in bytes) for omitted memory. Empty if the
            file could not be mapped.
        """
        memory = self._memory
        if memory is None:
            return []
        return [
            (
                piece.paddr,
                piece.length
                if piece.file_offset is None
                else memory[piece.file_offset : piece.file_offset + piece.length],
            )
            for piece in self.pieces
        ]


def map_file(file: BinaryIO) -> memoryview | None:
    """Map a file read-only; None if it cannot be mapped.

    If the file is truncated later, or its disk fails, reading the lost part ends the process with
    SIGBUS.
    """
    try:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):  # not supported by the file system, or the file is empty
        return None


def pieces_of(segments: list[Segment]) -> tuple[Piece, ...]:
    """Cut segments into pieces without overlaps. The later segment takes precedence."""
    return tuple(_pieces(segments))


def _pieces(segments: list[Segment]) -> Iterator[Piece]:
    for start, end, segment in _uncovered(segments):
        held_end = segment.paddr + segment.file_bytes
        if start < held_end:
            offset = segment.file_offset + start - segment.paddr
            yield Piece(start, min(end, held_end) - start, offset)
        if end > held_end:
            yield Piece(max(start, held_end), end - max(start, held_end), None)


def _uncovered(segments: list[Segment]) -> Iterator[tuple[int, int, Segment]]:
    """Yield the parts of each segment that no later one covers, by physical address."""
    named = sorted((s for s in segments if s.paddr != _NO_PADDR), key=lambda s: s.paddr)
    edges = sorted({edge for s in named for edge in (s.paddr, s.end)})
    coming = iter(named)
    following = next(coming, None)
    #: Segments that have started, the latest program header first. Some may have ended.
    open_ones: list[tuple[int, int, Segment]] = []
    for start, end in pairwise(edges):
        while following is not None and following.paddr == start:
            heapq.heappush(open_ones, (-following.order, following.end, following))
            following = next(coming, None)
        while open_ones and open_ones[0][1] <= start:
            heapq.heappop(open_ones)
        if open_ones:
            yield start, end, open_ones[0][2]
