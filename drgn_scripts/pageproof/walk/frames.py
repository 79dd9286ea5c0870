# SPDX-License-Identifier: GPL-2.0-or-later
"""All mappings of a frame in many address spaces: the engine's index, or a slow and obvious one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pageproof.model import GAPS, Range
from pageproof.space.units import ADDRESS_LAST, PAGE_SHIFT
from pageproof.walk.ranges import TooMuchWork
from pageproof.walk.x86_64 import Paging

if TYPE_CHECKING:
    import pageproof_pagewalk

    from pageproof.walk.engine import PythonWalker


@dataclass(frozen=True)
class Swept:
    """What became of one range.

    Attributes:
        gaps: a table could not be had, so that mappings may be missing.
        whole: false if the bound on work ended it.
    """

    gaps: bool
    whole: bool


class FrameIndex(Protocol):
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


class EngineFrames:
    """The engine's index, in C."""

    def __init__(self, index: pageproof_pagewalk.Index, walker: pageproof_pagewalk.Walker) -> None:
        self._index, self._walker = index, walker

    def add(self, space: int, root: int, first: int, last: int) -> Swept:
        (_, _, gaps, _), whole = self._index.add(
            self._walker, space, root & ADDRESS_LAST, first, last
        )
        return Swept(gaps > 0, whole)

    def finish(self) -> None:
        self._index.finish()

    def lookup(self, pfn: int) -> list[tuple[int, int]]:
        return [found[:2] for found in self._index.lookup(pfn)]


@dataclass
class _Space:
    frames: list[Range] = field(default_factory=list)
    shared: list[Range] = field(default_factory=list)


class PythonFrames:
    """Keeps every range, and looks at each for each frame."""

    def __init__(self, walker: PythonWalker, paging: Paging) -> None:
        self._walker, self._paging = walker, paging
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

    def finish(self) -> None:
        """Nothing is sorted."""

    def lookup(self, pfn: int) -> list[tuple[int, int]]:
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
        """Where else an address's frame is, by entries that lead to a table walked already.

        Seen from such a place only larger tables can hold it: the recursion
        is as deep as there are levels.
        """
        for one in shared:
            level_bytes = self._paging.tables[self._paging.levels - one.level].bytes
            assert one.shared_with is not None
            offset = address - (one.shared_with & -level_bytes)
            if level_bytes > above and 0 <= offset < level_bytes:
                other = (one.start & -level_bytes) + offset
                if one.start <= other <= one.last:
                    yield other
                    yield from self._through(other, level_bytes, shared)
