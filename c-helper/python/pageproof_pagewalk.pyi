# SPDX-License-Identifier: GPL-2.0-or-later
"""The page-table engine in C (c-helper/pagewalk): thin, batches of plain tuples and buffers.

Users want pageproof.walk, which makes dataclasses of these. Numbers of kinds and memory types are
indices into KINDS and MEMORY_TYPES.
"""

from collections.abc import Callable, Sequence
from mmap import mmap
from typing import Final

_Buffer = bytes | bytearray | memoryview | mmap

KINDS: Final[tuple[str, ...]]
"""Values of EntryKind and, from "non-canonical" on, of Outcome only; "leaf" ends a mapped walk."""
MEMORY_TYPES: Final[tuple[str, ...]]
RANGE_FORMAT: Final[str]
"""struct's format of one range of a sweep (56 bytes): start, last, paddr (2**64 - 1: none), entry,
table, shared_with, level, kind ("table": shared), rights, memory type, length of a gap."""
WRITE: Final[int]
EXECUTE: Final[int]
USER: Final[int]
ACCESS: Final[int]
MERGE_NOTHING: Final[int]
MERGE_FRAMES: Final[int]
MERGE_LIKE: Final[int]
INDEX_SPACES: Final[int]

USE_SPECIAL: Final[int]
USE_NORMAL: Final[int]

def classify(
    records: _Buffer,
    record_bytes: int,
    classes: tuple[tuple[int, int, int, int], ...],
    follows: int,
    /,
) -> bytes:
    """Say of each record of a row, such as struct page, which classes it is of.

    Args:
        records: one after the other.
        classes: (offset, mask, value, bit of the class): eight bytes there, under the mask.
        follows: a record of one of these classes is also of those of the record before it.

    Raises:
        ValueError: an offset is not in a record.
    """

_Step = tuple[int, int, int, int, int, str, int | None]
_Stats = tuple[int, int, int, int]

class Walker:
    """A paging form and memory. Immutable; threads may share it."""

    def __new__(
        cls,
        levels: int,
        memory_types: bytes,
        *,
        encrypt_mask: int = 0,
        swap: tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
        | None = None,
        zero_fills: bool = False,
        read: Callable[[int, int], _Buffer | int] | None = None,
        direct: Sequence[tuple[int, _Buffer | int]] = (),
        reserved_mask: int = 0,
    ) -> Walker:
        """Make one.

        Args:
            levels: 4 or 5.
            memory_types: 8 bytes, the memory type of each PAT index.
            encrypt_mask: the C-bit; taken out of every physical address.
            swap: (first, count) of hwpoison, migration, device memory, markers; None: not known.
            zero_fills: a table of nothing but zeros proves nothing.
            read: read(paddr, length) gives so many bytes, or the number of a kind ("excluded",
                "zero-filled", "unreadable"); what it raises ends the call.
            direct: (paddr, buffer) of physical memory that is there already, asked first; with
                a length instead of a buffer it is known to be left out of the dump.
            reserved_mask: address bits that the processor lacks: an entry with one of them is
                "reserved-bits".

        Raises:
            ValueError: a number is out of its range; ranges of direct overlap.
            TypeError: swap is no tuple, or read is not callable.
        """

    def walk(
        self, root: int, address: int, /
    ) -> tuple[
        int,
        int,
        int | None,
        int,
        int,
        int,
        int,
        int,
        int,
        int,
        int,
        int,
        tuple[_Step, ...],
    ]:
        """Walk for one address; root may be a CR3 value.

        Returns:
            outcome, root, paddr, leaf bytes (0: no leaf), rights, memory type, swap type (-1:
            none), swap offset, level, table, paddr and length (0: none) of the read that failed,
            and the steps: level, table, index, entry, kind, names of flags, base.
        """

    def sweep(
        self,
        root: int,
        first: int,
        last: int,
        *,
        merge: int = ...,
        ignore: int = 0,
        skip: int = 0,
        shared_once: bool = True,
        max_entries: int = 0,
    ) -> tuple[bytes, _Stats, int | None]:
        """Sweep the addresses first to last, both inclusive; the GIL is released meanwhile.

        Args:
            merge: MERGE_NOTHING, MERGE_FRAMES (adjoining and alike), MERGE_LIKE (frames anywhere).
            ignore: bits of entries that may differ in a range: accessed, dirty, software.
            skip: bit n: ranges of kind n are not given.
            shared_once: a table that was walked whole is reported, not repeated.
            max_entries: the bound on work; 0: 2**32.

        Returns:
            ranges one after the other (RANGE_FORMAT); tables read, entries, gaps, shared tables;
            None, or where the bound on work ended it.

        Raises:
            ValueError: first is after last.
        """

    def account(
        self,
        root: int,
        first: int,
        last: int,
        uses: bytearray,
        *,
        counts: bytearray = ...,
        marked: bytes | bytearray | None = None,
        special: int = 0,
        most_places: int = 0,
        max_entries: int = 0,
    ) -> tuple[bytes, _Stats, int | None]:
        """Sweep, and add what is mapped to accounts of all frames; the GIL is released meanwhile.

        Args:
            uses: by PFN, 1 << memory type | USE_NORMAL or USE_SPECIAL; is added to.
            counts: how many entries of the last level map it, less special ones; is added to.
            marked: the frames whose places are wanted.
            special: the bit of special entries.
            most_places: how many runs of marked frames are given at most.

        Returns:
            as of sweep(); the ranges are entries that lead to tables ("table", paddr is the
            table's) and runs of marked frames.

        Raises:
            ValueError: the range is not of whole pages, or the arrays differ in length.
        """

class Index:
    """For a frame all mappings of it. One thread at a time: RuntimeError otherwise."""

    def __new__(cls) -> Index: ...
    def add(
        self,
        walker: Walker,
        space: int,
        root: int,
        first: int,
        last: int,
        *,
        shared_once: bool = True,
        max_entries: int = 0,
    ) -> tuple[_Stats, bool]:
        """Add the mappings of a range of an address space; the GIL is released meanwhile.

        Args:
            space: the caller's number for it, below INDEX_SPACES.

        Returns:
            what sweep() counts, and whether it is all: False if max_entries ended it.

        Raises:
            ValueError: there is no such space, or first is after last.
        """

    def finish(self) -> None:
        """Sort; before the first lookup, and after each add."""

    def lookup(self, pfn: int, /) -> list[tuple[int, int, int, int, int]]:
        """All mappings of a frame: space, address, level, rights, memory type; in this order."""

    def size(self) -> tuple[int, int]:
        """Records (16 bytes each), and the pages that they stand for."""
