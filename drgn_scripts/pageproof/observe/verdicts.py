# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdicts of a mapping's pages, from two looks at both sides."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol

from pageproof.model import Outcome, PageRun, Reason, Verdict
from pageproof.walk import Side, Sides
from pageproof.walk.compare import compare

Judgement = tuple[Verdict, Reason | None]

SAME: Judgement = (Verdict.SAME, None)
TORN: Judgement = (Verdict.UNKNOWN, Reason.TORN)
NOT_PRESENT: Judgement = (Verdict.UNKNOWN, Reason.NOT_PRESENT)


class Nowhere(Protocol):
    """Which physical addresses exist: :class:`pageproof.observe.places.Places`."""

    def is_nowhere(self, paddr: int) -> bool:
        """Return whether neither memory nor a device has an address."""

    def changes(self, paddr: int, pages: int) -> Iterable[int]:
        """Yield the numbers of pages, counted from paddr, at which the answer may change."""


class KernelSide:
    """The frames of the kernel's pages of a region, at one look.

    Args:
        sides: in order of index.
    """

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self._indices = sides.indices()

    def within(self, index: int, pages: int) -> Iterator[tuple[int, Side | None]]:
        """Yield all parts of some pages, in order: number of pages, and their side if any."""
        end = index + pages
        run = max(bisect_right(self._indices, index) - 1, 0)
        while index < end:
            side = self.sides[run] if run < len(self._indices) else None
            if side is None or side.first >= end:
                yield end - index, None
                return
            if side.first > index:
                yield side.first - index, None
                index = side.first
            count = min(side.first + side.pages, end) - index
            if count > 0:
                yield count, side.cut(index, count)
                index += count
            run += 1


class _Pair(NamedTuple):
    """The same pages at two looks; None if they have no side."""

    first: int
    pages: int
    before: Side | None
    after: Side | None


def _pairs(before: Iterable[Side], after: Iterable[Side]) -> Iterator[_Pair]:
    """Cut the runs of two looks so that they begin and end together. Both are in order of index."""
    ways = iter(before), iter(after)
    here = [next(way, None) for way in ways]
    while left := [one for one in here if one is not None]:
        index = min(one.first for one in left)
        end = min(one.first if one.first > index else one.first + one.pages for one in left)
        parts: list[Side | None] = [None, None]
        for number, one in enumerate(here):
            if one is None or one.first > index:
                continue
            parts[number] = one.cut(index, end - index)
            rest = one.first + one.pages - end
            here[number] = one.cut(end, rest) if rest else next(ways[number], None)
        yield _Pair(index, end - index, parts[0], parts[1])


def changed(before: KernelSide, after: KernelSide) -> tuple[range, ...]:
    """Return the pages of a region, as ranges of indices, whose kernel side is not the same."""
    if before.sides == after.sides:
        return ()
    return tuple(
        range(one.first, one.first + one.pages)
        for one in _pairs(before.sides, after.sides)
        if not _agree(one.before, one.after)
    )


def _agree(before: Side | None, after: Side | None) -> bool:
    if before is None or after is None:
        return before is after
    return (before.outcome, before.paddr, before.same) == (after.outcome, after.paddr, after.same)


def judge_pages(
    first_page: int,
    pages: int,
    before: Sequence[Side],
    after: Sequence[Side],
    kernel: KernelSide,
    moved: Sequence[range],
    places: Nowhere,
) -> tuple[tuple[PageRun, ...], bool]:
    """Judge a VMA's pages from two looks.

    A page counts only if both of its sides are equal in both looks.

    Args:
        first_page: index in the region of the VMA's first page.
        pages: number of pages of the VMA.
        before, after: the user's side at each look, in order.
        kernel: the kernel's side at the second look.
        moved: pages of the region whose kernel side differs between the looks, in order.
        places: which physical addresses exist.

    Returns:
        Runs of all its pages, by number in the VMA, and whether both looks agree.
    """
    settled = True
    found: list[tuple[int, int, Judgement]] = []
    for pair in _pairs(before, after):
        for index, count, torn in _torn(pair, moved):
            settled = settled and not torn
            if torn:
                found.append((index, count, TORN))
                continue
            assert pair.after is not None
            user = pair.after.cut(index, count)
            if user.same:
                found.append((index, count, SAME))
                continue
            found += _compared(user, kernel, places)
    return runs_of(first_page, pages, found), settled


def _torn(pair: _Pair, moved: Sequence[range]) -> Iterator[tuple[int, int, bool]]:
    """Yield index, pages, and whether the looks differ there."""
    index, end = pair.first, pair.first + pair.pages
    if not _agree(pair.before, pair.after):
        yield index, pair.pages, True
        return
    at = max(bisect_right(moved, index, key=lambda one: one.start) - 1, 0)
    for one in moved[at:]:
        start, stop = max(one.start, index), min(one.stop, end)
        if one.start >= end:
            break
        if start >= stop:
            continue
        if start > index:
            yield index, start - index, False
        yield start, stop - start, True
        index = stop
    if index < end:
        yield index, end - index, False


def _compared(
    user: Side, kernel: KernelSide, places: Nowhere
) -> Iterator[tuple[int, int, Judgement]]:
    """Compare pages that are not at their expected frames with the kernel's side."""
    index = user.first
    for count, side in kernel.within(user.first, user.pages):
        mine = user.cut(index, count)
        for start, some in _alike(mine, side, places):
            one = mine.cut(start, some)
            other: tuple[Outcome, int | None] = (Outcome.NONE, None)
            if side is not None:
                part = side.cut(start, some)
                other = (part.outcome, part.paddr)
            yield start, some, compare((one.outcome, one.paddr), other, places.is_nowhere)
        index += count


def _alike(user: Side, kernel: Side | None, places: Nowhere) -> Iterator[tuple[int, int]]:
    """Cut pages where one of their addresses begins or ceases to exist."""
    cuts = {0, user.pages}
    for side in (user, kernel):
        if side is not None and side.paddr is not None and side.pages > 1:
            cuts.update(places.changes(side.paddr, side.pages))
    ordered = sorted(cuts)
    for start, stop in pairwise(ordered):
        yield user.first + start, stop - start


def runs_of(
    first_page: int, pages: int, found: Iterable[tuple[int, int, Judgement]]
) -> tuple[PageRun, ...]:
    """Return runs of equal pages of a VMA; pages without a verdict are not present.

    Args:
        first_page: index of the VMA's first page.
        pages: number of pages of the VMA.
        found: index, number of pages and verdict, in order and apart.
    """
    runs: list[tuple[int, int, Judgement]] = []

    def add(page: int, count: int, judgement: Judgement) -> None:
        if count <= 0:
            return
        if runs and runs[-1][2] == judgement:
            before = runs.pop()
            page, count = before[0], before[1] + count
        runs.append((page, count, judgement))

    following = 0
    for index, count, judgement in found:
        add(following, index - first_page - following, NOT_PRESENT)
        add(index - first_page, count, judgement)
        following = index - first_page + count
    add(following, pages - following, NOT_PRESENT)
    return tuple(_run(page, count, *judgement) for page, count, judgement in runs)


@lru_cache(maxsize=1024)
def _run(page: int, count: int, verdict: Verdict, reason: Reason | None) -> PageRun:
    """Make a run. Most of the mappings of a region have the same runs, which share the objects."""
    return PageRun(page, count, verdict, reason)


def verdict_at(runs: Sequence[PageRun], page: int) -> Verdict:
    """Return the verdict of a page of a VMA; UNKNOWN if there are no runs."""
    at = bisect_right(runs, page, key=lambda run: run.first_page) - 1
    return runs[at].verdict if at >= 0 else Verdict.UNKNOWN


def with_verdicts(
    runs: Sequence[PageRun], verdicts: Mapping[int, Judgement]
) -> tuple[PageRun, ...]:
    """Return the runs of a VMA with other verdicts of some of its pages."""
    pages = sorted(verdicts)
    found: list[tuple[int, int, Judgement]] = []
    for run in runs:
        at, end = run.first_page, run.first_page + run.pages
        for page in pages[bisect_left(pages, at) : bisect_left(pages, end)]:
            found.append((at, page - at, (run.verdict, run.reason)))
            found.append((page, 1, verdicts[page]))
            at = page + 1
        found.append((at, end - at, (run.verdict, run.reason)))
    return runs_of(0, sum(run.pages for run in runs), found)
