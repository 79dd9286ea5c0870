# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare all pages of all mappings of a region at once, without evidence of each."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pageproof.attach import Target
from pageproof.find.shared import Claimed, kernel_pages
from pageproof.model import PageRun, Verdict
from pageproof.observe.attempts import look_until
from pageproof.observe.places import Places
from pageproof.observe.verdicts import KernelSide, changed, judge_pages
from pageproof.space.runs import Runs
from pageproof.space.units import ADDRESS_END, ADDRESS_LAST, PAGE_BYTES
from pageproof.walk import Side, Sides, Spans, TooMuchWork, Walker, in_threads

#: Pages of a region whose frames are looked up.
FRAMES_PAGES: Final = 1 << 16
#: Pages for which starting threads is worth it.
_THREADED_PAGES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts of a VMA's pages, and the last look.

    Attributes:
        runs: all pages of the VMA.
        beyond: number of pages that have a user side and are beyond the region's end.
        addresses: kernel addresses of the region's pages that its VMAs map.
        user: the user's side, if some page is DIFFERENT.
        sound: all pages are known to be SAME.
    """

    runs: tuple[PageRun, ...]
    beyond: int
    addresses: Runs
    user: tuple[Side, ...]
    sound: bool = False


@dataclass(frozen=True)
class _Group:
    """The VMAs of one address space, in order of address, by their numbers."""

    root: int
    numbers: tuple[int, ...]
    spans: Spans


@dataclass(frozen=True)
class _View:
    """VMAs of a region with the same claim, up to the first page.

    Attributes:
        one: any of them.
        windows: the pages of the region that they map: index of the first one, number.
    """

    one: Claimed
    windows: frozenset[tuple[int, int]]
    groups: tuple[_Group, ...]


@dataclass(frozen=True)
class _Users:
    """The user's side of a group; for some VMAs the reason why they could not be read."""

    sides: Sides
    errors: dict[int, str]

    def by_vma(self, count: int) -> list[list[Side]]:
        found: list[list[Side]] = [[] for _ in range(count)]
        for side in self.sides:
            found[side.span].append(side)
        return found


@dataclass(frozen=True)
class _Look:
    """One look at a view."""

    addresses: Runs
    kernel: KernelSide
    users: list[_Users]


class _Sound:
    """The results for VMAs whose pages are all SAME. They are alike, so that they are shared."""

    def __init__(self, region_pages: int, addresses: Runs) -> None:
        self._region_pages, self._addresses = region_pages, addresses
        self._known: dict[tuple[int, int], Judged] = {}

    def judged(self, first_page: int, pages: int) -> Judged:
        beyond = max(0, min(pages, first_page + pages - self._region_pages))
        if (pages, beyond) not in self._known:
            run = PageRun(0, pages, Verdict.SAME, None)
            self._known[pages, beyond] = Judged((run,), beyond, self._addresses, (), sound=True)
        return self._known[pages, beyond]


class Prover:
    """Compares whole VMAs of one target."""

    def __init__(self, target: Target, kernel_root: int, walker: Walker) -> None:
        self._target, self._kernel_root, self._walker = target, kernel_root, walker
        self._places = Places(target)

    def judge(self, uses: Sequence[Claimed]) -> list[Judged | str]:
        """Judge the VMAs of a region: look until two looks agree, if the target is live.

        Each look is at the kernel's side first and then at all users. Only the VMAs for which the
        looks differ are looked at again.

        Returns:
            For each VMA the verdicts, or the reason why it could not be read.
        """
        found: list[Judged | str] = [""] * len(uses)
        for view in _views(uses, range(len(uses))):
            self._judge(uses, view, found)
        return [one or _no_range(use) for one, use in zip(found, uses, strict=True)]

    def _judge(self, uses: Sequence[Claimed], view: _View, found: list[Judged | str]) -> None:
        left = [number for group in view.groups for number in group.numbers]
        try:
            before = self._look(view)
            if not self._target.facts.live:
                self._finish(uses, view, before, before, found)
                return

            def again() -> list[int]:
                nonlocal before, left, view
                after = self._look(view)
                left = self._finish(uses, view, before, after, found)
                if left:
                    (part,) = _views(uses, left)
                    before, view = _only(after, view, part), part
                return left

            look_until(lambda left: not left, again, live=True)
        except (ValueError, TooMuchWork) as error:
            for number in left:
                found[number] = str(error)

    def _look(self, view: _View) -> _Look:
        """Look once.

        Raises:
            ValueError: the kernel's data about the region cannot be read.
            TooMuchWork: the kernel's page tables do not end.
        """
        listed = pages_of_region(self._target, view.one)
        addresses = Runs.parts_of(listed, view.windows)
        kernel = KernelSide(self._walker.sides(self._kernel_root, addresses.packed))

        def users(group: _Group) -> _Users:
            return self._users(group, kernel.sides)

        pages = sum(sum(group.spans[1::3]) for group in view.groups)
        threads = self._walker.threads if pages >= _THREADED_PAGES else 1
        return _Look(addresses, kernel, in_threads(view.groups, [users] * threads))

    def _users(self, group: _Group, kernel: Sides) -> _Users:
        try:
            return _Users(self._walker.sides(group.root, group.spans, kernel), {})
        except TooMuchWork:
            pass  # of one of them
        sides: list[Side] = []
        errors = {}
        for number in range(len(group.numbers)):
            span = group.spans[3 * number : 3 * number + 3]
            try:
                seen = self._walker.sides(group.root, span, kernel)
            except TooMuchWork as error:
                errors[number] = str(error)
            else:
                sides += [side._replace(span=number) for side in seen]
        return _Users(Sides.of(sides), errors)

    def _finish(
        self,
        uses: Sequence[Claimed],
        view: _View,
        before: _Look,
        after: _Look,
        found: list[Judged | str],
    ) -> list[int]:
        """Judge all VMAs from two looks. Returns the numbers of those for which they differ."""
        again = []
        moved = changed(before.kernel, after.kernel)
        sound = _Sound(view.one.claim.pages, after.addresses)
        for group, first, second in zip(view.groups, before.users, after.users, strict=True):
            alike = not moved and first.sides == second.sides
            easy = set(second.sides.as_expected(group.spans)) if alike else set()
            for at in easy:
                found[group.numbers[at]] = sound.judged(*group.spans[3 * at : 3 * at + 2])
            count = len(group.numbers)
            if len(easy) == count:
                continue
            users = second.by_vma(count)
            former = users if alike else first.by_vma(count)
            for at, number in enumerate(group.numbers):
                error = second.errors.get(at) or first.errors.get(at)
                if error:
                    found[number] = error
                elif at not in easy:
                    one = uses[number]
                    found[number], settled = self._judged(one, former[at], users[at], after, moved)
                    if not settled:
                        again.append(number)
        return again

    def _judged(
        self,
        one: Claimed,
        before: Sequence[Side],
        after: Sequence[Side],
        look: _Look,
        moved: Sequence[range],
    ) -> tuple[Judged, bool]:
        vma, claim = one.mapping.vma, one.claim
        assert vma is not None
        runs, settled = judge_pages(
            claim.first_page, vma.pages, before, after, look.kernel, moved, self._places
        )
        different = any(run.verdict is Verdict.DIFFERENT for run in runs)
        beyond = pages_from(claim.pages, after)
        return Judged(runs, beyond, look.addresses, tuple(after) if different else ()), settled

    def beyond(self, one: Claimed) -> int:
        """Return how many pages with a user side are beyond the region's end now.

        Raises:
            TooMuchWork: the VMA's page tables do not end.
        """
        (view,) = _views([one], [0])
        (group,) = view.groups
        return pages_from(one.claim.pages, self._walker.sides(group.root, group.spans))

    def frames(self, one: Claimed) -> dict[int, int]:
        """Return the PFN of each page of a region that has one.

        Raises:
            ValueError: the kernel's data about the region cannot be read.
            TooMuchWork: the page tables do not end.
        """
        pages = pages_of_region(self._target, one)
        addresses = Runs.parts_of(pages, [(0, min(len(pages), FRAMES_PAGES))])
        return {
            side.first + page: side.paddr // PAGE_BYTES + page
            for side in self._walker.sides(self._kernel_root, addresses.packed)
            if side.paddr is not None
            for page in range(side.pages)
        }


def pages_from(index: int, sides: Iterable[Side]) -> int:
    """Return how many of the pages have at least an index."""
    return sum(max(0, min(side.pages, side.first + side.pages - index)) for side in sides)


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


def _views(uses: Sequence[Claimed], numbers: Iterable[int]) -> list[_View]:
    """Put VMAs together whose kernel side is read once. Those that are no range are left out."""
    by_claim: dict[tuple[object, ...], dict[int, list[int]]] = {}
    for number in numbers:
        one = uses[number]
        claim, vma = one.claim, one.mapping.vma
        assert vma is not None
        # Both are data of the target.
        in_order = 0 <= vma.start < vma.end <= ADDRESS_END
        if not in_order or claim.first_page + vma.pages > ADDRESS_LAST:
            continue
        key = claim.owner_type, claim.name, claim.pages
        by_claim.setdefault(key, {}).setdefault(one.mapping.root, []).append(number)
    return [_view(uses, by_root) for by_root in by_claim.values()]


def _no_range(one: Claimed) -> str:
    vma = one.mapping.vma
    assert vma is not None
    first = one.claim.first_page
    return f"{vma.start:#x} to {vma.end - 1:#x}, from page {first:#x} on, is not a range of pages"


def _view(uses: Sequence[Claimed], by_root: dict[int, list[int]]) -> _View:
    windows = set()
    groups = []
    for root, numbers in by_root.items():
        ordered = []
        for number in numbers:
            vma = uses[number].mapping.vma
            assert vma is not None
            ordered.append((vma.start, number, uses[number].claim.first_page, vma.pages))
        ordered.sort()
        spans = array("Q")
        for start, _, first, pages in ordered:
            spans.extend((first, pages, start))
            windows.add((first, pages))
        groups.append(_Group(root, tuple(one[1] for one in ordered), spans))
    one = uses[groups[0].numbers[0]]
    return _View(one, frozenset(windows), tuple(groups))


def _only(look: _Look, view: _View, part: _View) -> _Look:
    """Return what was seen of some of the VMAs of a view."""
    by_number: dict[int, list[Side]] = {}
    errors: dict[int, str] = {}
    for group, users in zip(view.groups, look.users, strict=True):
        by_number.update(zip(group.numbers, users.by_vma(len(group.numbers)), strict=True))
        errors.update((group.numbers[at], error) for at, error in users.errors.items())
    chosen = [
        _Users(
            Sides.of(
                side._replace(span=at)
                for at, number in enumerate(group.numbers)
                for side in by_number[number]
            ),
            {at: errors[number] for at, number in enumerate(group.numbers) if number in errors},
        )
        for group in part.groups
    ]
    return _Look(look.addresses, look.kernel, chosen)
