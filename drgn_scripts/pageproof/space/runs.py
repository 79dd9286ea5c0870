# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses of pages as runs of pages whose addresses adjoin."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, overload

from pageproof.space.units import PAGE_BYTES

#: Numbers of a run: index of its first page, number of pages, address.
_NUMBERS: Final = 3


class Runs(Sequence[int | None]):
    """The address of each page of a region; None for a missing page.

    Held as runs, because regions have up to millions of pages, and files terabytes of missing ones.

    Args:
        pages: number of pages.
        runs: (index of the first page, number of pages, address), in order of index and apart.
            Pages that are in none of them are missing. What is after the last page is dropped.

    Raises:
        ValueError: the runs overlap, or an address is not a 64-bit number.
    """

    def __init__(self, pages: int, runs: Iterable[tuple[int, int, int]] = ()) -> None:
        self._pages = pages
        #: The numbers of all runs, one run after the other: index, pages, address.
        self.packed = array("Q")
        end, packed = 0, self.packed
        follows: int | None = None
        try:
            for first, count, address in runs:
                some = min(count, pages - first)
                if some <= 0:
                    continue
                if first < end:
                    raise ValueError(f"page {first} is in two runs")
                if first == end and address == follows:
                    packed[-2] += some
                else:
                    packed.extend((first, some, address))
                end, follows = first + some, address + some * PAGE_BYTES
        except OverflowError:
            raise ValueError("the address of a page is not a 64-bit number") from None

    @classmethod
    def by_page(cls, pages: int, there: Mapping[int, int]) -> Runs:
        """Make runs of addresses by page; other pages are missing."""
        return cls(pages, ((page, 1, there[page]) for page in sorted(there)))

    @classmethod
    def parts_of(cls, addresses: Sequence[int | None], windows: Iterable[tuple[int, int]]) -> Runs:
        """Make runs of parts of a sequence. The other pages are missing.

        Args:
            addresses: the address of each page; None for a missing page.
            windows: (index of the first page, number of pages), in any order; may overlap.

        Raises:
            ValueError: an address is not a 64-bit number.
        """
        apart = _joined(windows)
        if not isinstance(addresses, Runs):
            return cls(len(addresses), _runs_in(addresses, apart))
        parts = cls(len(addresses))
        for window in apart:
            parts.packed.extend(addresses._within(window))
        return parts

    @property
    def runs(self) -> list[tuple[int, int, int]]:
        """The index of the first page, number of pages and address of each run."""
        packed = self.packed
        return list(zip(packed[0::3], packed[1::3], packed[2::3], strict=True))

    def _within(self, window: range) -> array[int]:
        """Return the numbers of the runs that are in some pages, cut to them."""
        first, last = self._run_of(window.start), self._run_of(window.stop - 1)
        found = self.packed[_NUMBERS * max(first, 0) : _NUMBERS * (last + 1)]
        if found and found[0] < window.start:
            gone = min(window.start - found[0], found[1])
            found[0] += gone
            found[1] -= gone
            found[2] += gone * PAGE_BYTES if found[1] else 0
        if found and found[-3] + found[-2] > window.stop:
            found[-2] = window.stop - found[-3]
        return found if not found or found[1] else found[_NUMBERS:]

    def _run_of(self, page: int) -> int:
        """Return the number of the last run that begins at a page or before it; -1 for none."""
        packed = self.packed
        runs = range(len(packed) // _NUMBERS)
        return bisect_right(runs, page, key=lambda run: packed[_NUMBERS * run]) - 1

    def __len__(self) -> int:
        return self._pages

    def __iter__(self) -> Iterator[int | None]:
        at = 0
        for first, count, address in self.runs:
            yield from (None for _ in range(at, first))
            yield from range(address, address + count * PAGE_BYTES, PAGE_BYTES)
            at = first + count
        yield from (None for _ in range(at, self._pages))

    @overload
    def __getitem__(self, page: int) -> int | None: ...
    @overload
    def __getitem__(self, page: slice) -> Sequence[int | None]: ...
    def __getitem__(self, page: int | slice) -> int | Sequence[int | None] | None:
        wanted = range(self._pages)[page]
        if isinstance(wanted, range):
            return [self[number] for number in wanted]
        run = self._run_of(wanted)
        if run < 0:
            return None
        first, count, address = self.packed[_NUMBERS * run : _NUMBERS * (run + 1)]
        return address + (wanted - first) * PAGE_BYTES if wanted < first + count else None


def _joined(windows: Iterable[tuple[int, int]]) -> Iterator[range]:
    """Yield windows in order and apart."""
    before = range(0)
    for first, pages in sorted(windows):
        if first > before.stop:
            if before:
                yield before
            before = range(first, first + pages)
        else:
            before = range(before.start, max(before.stop, first + pages))
    if before:
        yield before


def _runs_in(
    addresses: Sequence[int | None], windows: Iterable[range]
) -> Iterator[tuple[int, int, int]]:
    for window in windows:
        if isinstance(addresses, range) and addresses.step == PAGE_BYTES:
            some = addresses[window.start : window.stop]
            yield window.start, len(some), some.start
        else:
            for page in range(window.start, min(window.stop, len(addresses))):
                address = addresses[page]
                if address is not None:
                    yield page, 1, address
