# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare all pages of a mapping at once, without evidence of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pageproof.attach import Target
from pageproof.find.shared import Claim, Claimed, kernel_pages
from pageproof.model import Outcome, PageRun, Reason, Verdict
from pageproof.observe.attempts import look_until
from pageproof.observe.places import Places
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker
from pageproof.walk.compare import compare

#: Outcome of a walk, and the frame's address.
Side = tuple[Outcome, int | None]
Judgement = tuple[Verdict, Reason | None]
NOTHING: Side = (Outcome.NONE, None)
#: Pages of a region whose frames are looked up.
FRAMES_PAGES: Final = 1 << 16


@dataclass(frozen=True)
class Glance:
    """One look at a VMA: both sides by page; pages without a user side are left out.

    Attributes:
        kernel: addresses of the region's pages.
        sides: page of the VMA -> user's and kernel's side.
    """

    kernel: Sequence[int | None]
    sides: dict[int, tuple[Side, Side]]

    def beyond(self, claim: Claim) -> int:
        """Return how many pages with a user side are beyond the region's end."""
        return sum(claim.first_page + page >= claim.pages for page in self.sides)


@dataclass(frozen=True)
class Judged:
    """Verdicts of a VMA's pages that have an entry, and the last look."""

    pages: dict[int, Judgement]
    glance: Glance


class Prover:
    """Compares whole VMAs of one target."""

    def __init__(self, target: Target, kernel_root: int, walker: Walker) -> None:
        self._target, self._kernel_root, self._walker = target, kernel_root, walker
        self._places = Places(target)

    def judge(self, one: Claimed) -> Judged:
        """Look until two looks agree, if the target is live.

        Raises:
            ValueError: the kernel's data about the region cannot be read.
            TooMuchWork: the VMA's page tables do not end.
        """
        last = self.look(one)
        if not self._target.facts.live:
            return Judged(dict(_judged(last, last, self._places)), last)

        def twice() -> tuple[Glance, Glance]:
            nonlocal last
            before, last = last, self.look(one)
            return before, last

        pair, _ = look_until(lambda seen: seen[0].sides == seen[1].sides, twice, live=True)
        return Judged(dict(_judged(*pair, self._places)), last)

    def look(self, one: Claimed) -> Glance:
        """Look once.

        Raises:
            See :meth:`judge`.
        """
        vma = one.mapping.vma
        assert vma is not None
        kernel = pages_of_region(self._target, one)
        users = dict(self._present(one.mapping.root, vma.start, vma.end))
        sides = {}
        addresses = {}
        for page in users:
            index = one.claim.first_page + page
            address = kernel[index] if index < len(kernel) else None
            if address is not None:
                addresses[page] = address
        there = self._kernel_sides(sorted(set(addresses.values())))
        for page, user in users.items():
            address = addresses.get(page)
            sides[page] = user, NOTHING if address is None else there.get(address, NOTHING)
        return Glance(kernel, sides)

    def frames(self, one: Claimed) -> dict[int, int]:
        """Return the PFN of each page of a region that has one.

        Raises:
            ValueError: the kernel's data about the region cannot be read.
            TooMuchWork: the page tables do not end.
        """
        kernel = pages_of_region(self._target, one)
        addresses = {page: kernel[page] for page in range(min(len(kernel), FRAMES_PAGES))}
        there = self._kernel_sides(sorted({one for one in addresses.values() if one is not None}))
        sides = {page: there.get(at) for page, at in addresses.items() if at is not None}
        return {
            page: side[1] // PAGE_BYTES
            for page, side in sides.items()
            if side is not None and side[1] is not None
        }

    def _kernel_sides(self, addresses: Sequence[int]) -> dict[int, Side]:
        """Walk kernel addresses; adjacent ones are walked together."""
        sides: dict[int, Side] = {}
        start = 0
        for number in range(1, len(addresses) + 1):
            if number < len(addresses) and addresses[number] == addresses[number - 1] + PAGE_BYTES:
                continue
            first, end = addresses[start], addresses[number - 1] + PAGE_BYTES
            for page, side in self._present(self._kernel_root, first, end):
                sides[first + page * PAGE_BYTES] = side
            start = number
        return sides

    def _present(self, root: int, start: int, end: int) -> Iterator[tuple[int, Side]]:
        """Yield the pages of a range that have an entry, by their number in it."""
        for one in self._walker.ranges(root, start, end - 1, merged=True):
            first = (one.start - start) // PAGE_BYTES
            for number in range((one.last + 1 - one.start) // PAGE_BYTES):
                if one.shared_with is not None:
                    walk = self._walker.walk(root, one.start + number * PAGE_BYTES)
                    yield first + number, (walk.outcome, walk.paddr)
                    continue
                frame = None if one.frame is None else one.frame + number * PAGE_BYTES
                yield first + number, (one.outcome, frame)


def pages_of_region(target: Target, one: Claimed) -> Sequence[int | None]:
    """Call :func:`kernel_pages`; again if it fails on a live target, where it may be changing.

    Raises:
        ValueError: each attempt failed.
    """

    def look() -> Sequence[int | None] | ValueError:
        try:
            return kernel_pages(target.prog, one)
        except ValueError as error:
            return error

    seen, _ = look_until(
        lambda seen: not isinstance(seen, ValueError), look, live=target.facts.live
    )
    if isinstance(seen, ValueError):
        raise seen
    return seen


def runs_of(pages: int, judged: Mapping[int, Judgement]) -> tuple[PageRun, ...]:
    """Return runs of equal pages of a VMA; pages without a verdict are not present."""
    runs: list[PageRun] = []
    following = 0
    for page in (*sorted(judged), pages):
        if page > following:
            runs.append(PageRun(following, page - following, Verdict.UNKNOWN, Reason.NOT_PRESENT))
        following = page + 1
        if page == pages:
            break
        last = runs[-1] if runs else None
        if last and (last.verdict, last.reason) == judged[page]:
            runs[-1] = replace(last, pages=last.pages + 1)
        else:
            runs.append(PageRun(page, 1, *judged[page]))
    return tuple(runs)


def _judged(before: Glance, after: Glance, places: Places) -> Iterator[tuple[int, Judgement]]:
    for page in before.sides.keys() | after.sides.keys():
        seen = after.sides.get(page)
        if seen is None or seen != before.sides.get(page):
            yield page, (Verdict.UNKNOWN, Reason.TORN)
        else:
            yield page, compare(*seen, places.is_nowhere)
