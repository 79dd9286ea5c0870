# SPDX-License-Identifier: GPL-2.0-or-later
"""The slow and obvious walker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pageproof.arch import Paging
from pageproof.model import GAPS, Outcome, Range, Walk
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT
from pageproof.walk.account import Accounted, Accounts, account_range
from pageproof.walk.compare import is_compared
from pageproof.walk.protocol import MAX_ENTRIES, Index, Part, Swept, Walker
from pageproof.walk.ranges import TooMuchWork, check_range, walk_range
from pageproof.walk.sides import Side, Sides, Spans
from pageproof.walk.walker import ReadPhysical, walk_address


class PythonWalker:
    """The slow and obvious walker."""

    name = "python"
    threads = 1  # drgn is not made for more

    def __init__(self, read_physical: ReadPhysical, paging: Paging) -> None:
        self._read, self._paging = read_physical, paging

    def walk(self, root: int, address: int) -> Walk:
        return walk_address(self._read, root, address, self._paging)

    def ranges(
        self,
        root: int,
        first: int,
        last: int,
        *,
        merged: bool = False,
        max_entries: int = MAX_ENTRIES,
    ) -> Iterator[Range]:
        read, paging = _by_page(self._read), self._paging
        for one in walk_range(read, root, first, last, paging, max_entries=max_entries):
            if not merged or one.outcome is not Outcome.NONE:
                yield one

    def alike(self, root: int, first: int, last: int) -> Iterator[Range]:
        return self.ranges(root, first, last, merged=True)

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
        read = _by_page(self._read)
        if accounts is None:
            accounts = Accounts.empty(len(marked or b""))
        found = account_range(read, root, first, last, self._paging, accounts, marked, most_places)
        if alike:
            runs = self.alike(root, first, last)
            found.runs = [one for one in runs if one.shared_with is None]
        return found

    def account_spaces(
        self,
        spans: Sequence[Part],
        accounts: Accounts | None,
        marked: bytes | bytearray | None = None,
        most_places: int = 0,
        *,
        alike: bool = False,
    ) -> list[Accounted]:
        return [self.account(*span, accounts, marked, most_places, alike=alike) for span in spans]

    def sides(self, root: int, spans: Spans, expected: Sides | None = None) -> Sides:
        there = {} if expected is None else _frames_of(expected)
        return Sides.of(
            part
            for number, span in enumerate(zip(spans[0::3], spans[1::3], spans[2::3], strict=True))
            for side in self._span(root, number, *span)
            for part in _marked(side, there)
        )

    def _span(self, root: int, span: int, first: int, pages: int, address: int) -> Iterator[Side]:
        """Yield the pages of a span that have an entry."""
        offset = address % PAGE_BYTES
        start = address - offset
        last = start + pages * PAGE_BYTES - 1
        if not pages:
            return
        check_range(start, last)
        for one in self.ranges(root, start, last, merged=True):
            index = first + (one.start - start) // PAGE_BYTES
            count = (one.last + 1 - one.start) // PAGE_BYTES
            if one.shared_with is None:
                paddr = None if one.frame is None else one.frame + offset
                yield Side(index, count, paddr, span, one.outcome, same=False)
                continue
            for page in range(count):
                walk = self.walk(root, one.start + page * PAGE_BYTES + offset)
                if walk.outcome is not Outcome.NONE:
                    yield Side(index + page, 1, walk.paddr, span, walk.outcome, same=False)

    def index(self, wanted: Iterable[int] | None = None) -> Index:
        return PythonIndex(self, self._paging, None if wanted is None else frozenset(wanted))


def _frames_of(expected: Iterable[Side]) -> dict[int, int]:
    """Return the frame of each page that is expected at one."""
    return {
        one.first + page: one.paddr + page * PAGE_BYTES
        for one in expected
        if one.paddr is not None and is_compared(one.outcome)
        for page in range(one.pages)
    }


def _marked(side: Side, expected: Mapping[int, int]) -> Iterator[Side]:
    """Yield each page of a side, marked if it is at its expected frame."""
    if not expected or not is_compared(side.outcome):
        yield side
        return
    for index in range(side.first, side.first + side.pages):
        page = side.cut(index, 1)
        if expected.get(index) == page.paddr:
            page = page._replace(paddr=None, same=True)
        yield page


def _by_page(read_physical: ReadPhysical) -> ReadPhysical:
    """Read whole pages and keep the last few, because a walk returns to the tables above."""
    kept: dict[int, bytes] = {}

    def read(paddr: int, length: int) -> bytes:
        page = paddr & -PAGE_BYTES
        if page not in kept:
            data = read_physical(page, PAGE_BYTES)
            while len(kept) >= 8:
                del kept[next(iter(kept))]
            kept[page] = data
        else:
            kept[page] = kept.pop(page)
        return kept[page][paddr - page : paddr - page + length]

    return read


@dataclass
class _Space:
    frames: list[Range] = field(default_factory=list)
    shared: list[Range] = field(default_factory=list)


class PythonIndex:
    """Keeps every range, and searches all of them for each frame."""

    def __init__(
        self, walker: Walker, paging: Paging, wanted: frozenset[int] | None = None
    ) -> None:
        self._walker, self._paging, self._wanted = walker, paging, wanted
        self._spaces: dict[int, _Space] = {}

    def add(self, space: int, root: int, first: int, last: int) -> Swept:
        here = self._spaces.setdefault(space, _Space())
        gaps = False
        try:
            for one in self._walker.ranges(root, first, last, merged=True):
                if one.shared_with is not None:
                    here.shared.append(one)
                elif one.frame is not None:
                    here.frames.append(one)
                gaps = gaps or one.outcome in GAPS
        except TooMuchWork:
            return Swept(gaps, whole=False)
        return Swept(gaps, whole=True)

    def add_spaces(self, spaces: Sequence[Sequence[Part]]) -> list[list[Swept]]:
        return [[self.add(number, *part) for part in parts] for number, parts in enumerate(spaces)]

    def finish(self) -> None:
        """Do nothing; the ranges are not sorted."""

    def lookup(self, pfn: int) -> list[tuple[int, int]]:
        if self._wanted is not None and pfn not in self._wanted:
            raise ValueError(f"frame {pfn} is not one of the index's wanted ones")
        return sorted(
            (number, address)
            for number, space in self._spaces.items()
            for one in space.frames
            for address in self._addresses(one, pfn, space.shared)
        )

    def _addresses(self, one: Range, pfn: int, shared: Iterable[Range]) -> Iterator[int]:
        assert one.frame is not None
        offset = (pfn << PAGE_SHIFT) - (one.frame & -1 << PAGE_SHIFT)
        if 0 <= offset <= one.last - one.start:
            address = (one.start & -1 << PAGE_SHIFT) + offset
            yield address
            yield from self._through(address, 0, shared)

    def _through(self, address: int, above: int, shared: Iterable[Range]) -> Iterator[int]:
        """Yield the other addresses of a frame, behind entries that share a table.

        Only a larger table can contain such an entry again, so the recursion is as deep as there
        are levels.
        """
        for one in shared:
            level_bytes = self._paging.level(one.level).bytes
            assert one.shared_with is not None
            offset = address - (one.shared_with & -level_bytes)
            if level_bytes > above and 0 <= offset < level_bytes:
                other = (one.start & -level_bytes) + offset
                if one.start <= other <= one.last:
                    yield other
                    yield from self._through(other, level_bytes, shared)
