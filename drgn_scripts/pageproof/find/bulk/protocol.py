# SPDX-License-Identifier: GPL-2.0-or-later
"""What a bulk reader gives: fields of many structures, VMAs, entries of XArrays, as packed words.

There are two: the C engine's (:mod:`pageproof.find.bulk.engine`), and a slow and simple one that
uses drgn's objects (:mod:`pageproof.find.bulk.objects`), which is the oracle of the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

#: Offset in the structure, and size in bytes: 1, 2, 4 or 8.
Field = tuple[int, int]


@dataclass(frozen=True)
class Rows:
    """Fields of structures.

    Attributes:
        words: row after row, in the order of the addresses; 0 for a field that cannot be read.
        width: number of words of a row.
        faults: why a row, or a part of it, cannot be read, by its number.
    """

    words: memoryview
    width: int
    faults: Mapping[int, str]

    def column(self, number: int) -> list[int]:
        """Return one field of all rows."""
        found: list[int] = self.words[number :: self.width].tolist()
        return found

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Yield the rows."""
        return zip(*(self.column(number) for number in range(self.width)), strict=True)


class VmaRecord(NamedTuple):
    """A ``struct vm_area_struct`` as it was read.

    Attributes:
        mm: number of its mm in the request.
    """

    mm: int
    address: int
    start: int
    end: int
    pgoff: int
    vm_flags: int
    page_prot: int
    vm_ops: int
    file: int
    private_data: int


#: Words of a VMA in :class:`Vmas`.
VMA_WORDS: Final = len(VmaRecord._fields)
_VMA: Final = struct.Struct(f"={VMA_WORDS}Q")
_VMA_BYTES, _UNPACK = _VMA.size, _VMA.unpack_from
#: Makes a VmaRecord in half the time that ``_make()`` takes.
_new: Final = tuple.__new__
#: Members of ``struct vm_area_struct`` in the order of VmaRecord's, from ``start`` on.
VMA_MEMBERS: Final = (
    "vm_start",
    "vm_end",
    "vm_pgoff",
    "vm_flags",
    "vm_page_prot",
    "vm_ops",
    "vm_file",
    "vm_private_data",
)


class SpaceRecord(NamedTuple):
    """A ``struct mm_struct`` and its VMAs.

    Attributes:
        pgd: virtual address of its topmost table; 0 if it cannot be read.
        first: number of its first VMA in the result.
        length: number of its VMAs.
        lost: why VMAs, or the pgd, are missing; "" if none is.
    """

    mm: int
    pgd: int
    first: int
    length: int
    lost: str


@dataclass(frozen=True)
class Vmas:
    """The VMAs of address spaces.

    Attributes:
        spaces: in the order of the request.
        words: of all VMAs, by address space and address, VMA_WORDS for each (:class:`VmaRecord`).
        faults: why a VMA cannot be read, by its number.
    """

    spaces: Sequence[SpaceRecord]
    words: memoryview
    faults: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.words) // VMA_WORDS

    def record(self, number: int) -> VmaRecord:
        """Return one VMA."""
        return _new(VmaRecord, _UNPACK(self.words, number * _VMA_BYTES))

    def column(self, number: int, first: int = 0, count: int | None = None) -> list[int]:
        """Return one word of consecutive VMAs.

        Args:
            number: index of the field in :class:`VmaRecord`.
            first: number of the first VMA.
            count: number of VMAs; None for all that follow.
        """
        end = None if count is None else (first + count) * VMA_WORDS
        found: list[int] = self.words[first * VMA_WORDS + number : end : VMA_WORDS].tolist()
        return found


class Run(NamedTuple):
    """Entries of an XArray at consecutive indices.

    Attributes:
        first: index of the first entry.
        length: number of indices.
        entry: the first entry. Each other one is the one before it plus the step.
    """

    first: int
    length: int
    entry: int


class Bulk(Protocol):
    """Reads kernel structures of one target. Faults of memory are data."""

    def gather(self, addresses: Sequence[int], fields: Sequence[Field]) -> Rows:
        """Read fields of many structures. Address 0 gives a row of zeros.

        Args:
            addresses: of the structures.
            fields: 1 to 16.
        """

    def vmas(self, mms: Sequence[int], *, once: bool = False) -> Vmas:
        """Read the VMAs of address spaces.

        On a live target each address space is walked until two walks find the same VMAs. VMAs that
        were mapped or unmapped meanwhile are not missing.

        Args:
            mms: addresses of ``struct mm_struct``.
            once: walk once, for a caller that compares two results.
        """

    def vmas_in_parts(self, parts: Iterable[Sequence[int]]) -> Iterator[Vmas]:
        """Yield the result of :meth:`vmas` for each part, with the next ones read ahead."""

    def xarray(self, head: int, step: int = 0, max_nodes: int = 0) -> tuple[list[Run], str]:
        """Read all entries of an XArray.

        Args:
            head: address of ``xa_head`` of ``struct xarray``, or ``rnode`` of a radix tree.
            step: merge entries at consecutive indices if each is the one before plus step; with 0,
                none. A multi-index entry covers all its indices. With a step it is like an entry at
                each index that is the one before plus step.
            max_nodes: limit of nodes; 0: 2**20.

        Returns:
            The runs in order of index, and why some are missing; "" if none is.
        """
