# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical memory before anything is known about what runs in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import drgn

from pageproof import arch
from pageproof.model import MemoryGap

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


def assumed_platform() -> drgn.Platform:
    """Return the platform of memory that does not name its machine."""
    return drgn.Platform(drgn.Architecture[arch.ASSUMED.platform])


def add_to_drgn(
    prog: drgn.Program, paddr: int, length: int, read: Callable[[int, int], bytes]
) -> None:
    """Let drgn read physical memory by a function that raises MemoryGap.

    It takes precedence over drgn's own segments (drgn_memory_reader_add_segment()).
    """

    def read_segment(address: int, count: int, offset: int, physical: bool) -> bytes:
        try:
            return read(address, count)
        except MemoryGap as gap:
            raise drgn.FaultError(str(gap), address) from None

    prog.add_memory_segment(paddr, length, read_segment, True)
