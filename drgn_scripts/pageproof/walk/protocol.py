# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface of walkers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pageproof.model import Range, Walk
from pageproof.walk.account import Accounted, Accounts
from pageproof.walk.sides import Sides, Spans

#: Default limit of entries of one sweep: 256 GiB in small pages.
MAX_ENTRIES: Final = 1 << 26


#: Root, first and last address of a sweep; the last is inclusive.
Part = tuple[int, int, int]


@dataclass(frozen=True)
class Swept:
    """How the sweep of a range ended.

    Attributes:
        gaps: a table could not be read, so mappings may be missing.
        whole: false if the limit of entries ended it.
    """

    gaps: bool
    whole: bool


class Index(Protocol):
    """Where frames are mapped. Add ranges, finish, then look up."""

    def add(self, space: int, root: int, first: int, last: int) -> Swept:
        """Add the mappings of an address space.

        Args:
            space: the caller's number for the space, below 65536.
            root: physical address of the topmost table.
            first: of the range.
            last: of the range, inclusive.
        """

    def add_spaces(self, spaces: Sequence[Sequence[Part]]) -> list[list[Swept]]:
        """Add whole address spaces, on all cores if the target allows it.

        Args:
            spaces: the parts of each space; its number is its position.
        """

    def finish(self) -> None:
        """Sort. Call it after the last add and before the first lookup."""

    def lookup(self, pfn: int) -> list[tuple[int, int]]:
        """Return space and virtual address of each mapping of a frame, sorted.

        Raises:
            ValueError: the index was made for other frames.
        """


class Walker(Protocol):
    """Walks the tables of one target.

    Attributes:
        threads: the number of threads that may use it at the same time.
    """

    name: str
    threads: int

    def walk(self, root: int, address: int) -> Walk:
        """As :func:`pageproof.walk.walk_address`."""

    def ranges(
        self, root: int, first: int, last: int, *, merged: bool = False, max_entries: int = ...
    ) -> Iterator[Range]:
        """As :func:`pageproof.walk.walk_range`.

        Args:
            root: physical address of the topmost table, or the value of the register that holds it.
            first: of the range.
            last: of the range, inclusive.
            merged: skip empty entries; adjacent ranges that are alike may come as one.
            max_entries: limit of entries.
        """

    def alike(self, root: int, first: int, last: int) -> Iterator[Range]:
        """As :meth:`ranges`, merged by rights and memory type, wherever the frames are.

        The frame of a range is only that of its first page. Empty entries are skipped.

        Raises:
            TooMuchWork: at the limit of entries.
        """

    def account(
        self,
        root: int,
        first: int,
        last: int,
        accounts: Accounts | None,
        marked: bytes | bytearray | None = None,
        most_places: int = 0,
        *,
        alike: bool = False,
    ) -> Accounted:
        """As :func:`pageproof.walk.account.account_range`.

        Args:
            root, first, last: as for :meth:`ranges`.
            accounts: to add to; None: only find the places of marked frames.
            marked, most_places: of the frames whose places are wanted.
            alike: collect what :meth:`alike` returns as well, without shared tables. Not together
                with ``marked``.
        """

    def account_spaces(
        self,
        spans: Sequence[Part],
        accounts: Accounts | None,
        marked: bytes | bytearray | None = None,
        most_places: int = 0,
        *,
        alike: bool = False,
    ) -> list[Accounted]:
        """Do the same for several address spaces, on all cores if the target allows it."""

    def sides(self, root: int, spans: Spans, expected: Sides | None = None) -> Sides:
        """What :meth:`walk` finds for each page of many spans, less the pages without an entry.

        Args:
            root: physical address of the topmost table, or the value of the register that holds it.
            spans: quickest in order of address. They may overlap, and need not be aligned.
            expected: the kernel's side, in order of index and apart. Pages that are at the frame
                that it has for their index are reported as ``same``, in runs that go on wherever
                the frames are. Frames count as :func:`pageproof.walk.compare.compare` does it.

        Raises:
            TooMuchWork: at the limit of entries.
            ValueError: a span goes beyond the last address.
        """

    def index(self, wanted: Iterable[int] | None = None) -> Index:
        """An empty index of frames, which sweeps of these tables fill.

        Args:
            wanted: PFNs; the index is of these only, and quicker to fill. None: all frames.
        """
