# SPDX-License-Identifier: GPL-2.0-or-later
"""What every walker can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pageproof.model import Range, Walk
from pageproof.walk.account import Accounted, Accounts

#: Entries that one sweep may look at if its caller names no number: 256 GiB in small pages.
MAX_ENTRIES: Final = 1 << 26


@dataclass(frozen=True)
class Swept:
    """What became of one range.

    Attributes:
        gaps: a table could not be had, so that mappings may be missing.
        whole: false if the bound on work ended it.
    """

    gaps: bool
    whole: bool


class Index(Protocol):
    """Where frames are mapped. Add ranges, finish, then look up."""

    def add(self, space: int, root: int, first: int, last: int) -> Swept:
        """Add what one address space maps.

        Args:
            space: the caller's number for it, below 65536.
            root: physical address of the topmost table.
            first: of the range.
            last: of the range, inclusive.
        """

    def finish(self) -> None:
        """Sort; after the last add and before the first lookup."""

    def lookup(self, pfn: int) -> list[tuple[int, int]]:
        """Space and virtual address of each mapping of a frame, in this order."""


class Walker(Protocol):
    """Walks the tables of one target."""

    name: str

    def walk(self, root: int, address: int) -> Walk:
        """As :func:`pageproof.walk.walk_address`."""

    def ranges(
        self, root: int, first: int, last: int, *, merged: bool = False, max_entries: int = ...
    ) -> Iterator[Range]:
        """As :func:`pageproof.walk.walk_range`.

        Args:
            root: physical address of the topmost table, or a CR3 value.
            first: of the range.
            last: of the range, inclusive.
            merged: empty entries are left out, and what adjoins and is alike
                may come as one range.
            max_entries: the bound on work.
        """

    def alike(self, root: int, first: int, last: int) -> Iterator[Range]:
        """As :meth:`ranges`, merged wherever the frames are: by rights and memory type.

        A range's frame is that of its first page only, and entries that are
        empty are left out.

        Raises:
            TooMuchWork: at the bound on work.
        """

    def account(
        self,
        root: int,
        first: int,
        last: int,
        accounts: Accounts,
        marked: bytes | bytearray | None = None,
        most_places: int = 0,
    ) -> Accounted:
        """As :func:`pageproof.walk.account.account_range`."""

    def index(self) -> Index:
        """An empty index of frames, which sweeps of these tables fill."""
