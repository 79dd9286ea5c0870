# SPDX-License-Identifier: GPL-2.0-or-later
"""The slow and obvious way to the verdicts of a mapping: page by page, with a dict of each look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pageproof.find.shared import Claimed
from pageproof.model import Outcome, PageRun, Reason, Verdict
from pageproof.observe.attempts import ATTEMPTS
from pageproof.observe.verdicts import Judgement
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker
from pageproof.walk.compare import compare

#: Outcome of a walk, and the frame's address.
End = tuple[Outcome, int | None]
#: Page of the VMA -> user's and kernel's side; pages without a user side are left out.
Look = dict[int, tuple[End, End]]
NOTHING: End = (Outcome.NONE, None)


def look(walker: Walker, kernel_root: int, addresses: Sequence[int | None], one: Claimed) -> Look:
    """Walk both sides of each page."""

    def end(root: int, address: int) -> End:
        walk = walker.walk(root, address)
        return walk.outcome, walk.paddr

    vma = one.mapping.vma
    assert vma is not None
    sides: Look = {}
    for page in range(vma.pages):
        user = end(one.mapping.root, vma.start + page * PAGE_BYTES)
        if user[0] in (Outcome.NONE, Outcome.NON_CANONICAL):
            continue
        index = one.claim.first_page + page
        address = addresses[index] if index < len(addresses) else None
        sides[page] = user, NOTHING if address is None else end(kernel_root, address)
    return sides


def judged(before: Look, after: Look, is_nowhere: Callable[[int], bool]) -> dict[int, Judgement]:
    """Judge each page that has a side in one of the looks."""
    verdicts: dict[int, Judgement] = {}
    for page in before.keys() | after.keys():
        seen = after.get(page)
        if seen is None or seen != before.get(page):
            verdicts[page] = Verdict.UNKNOWN, Reason.TORN
        else:
            verdicts[page] = compare(*seen, is_nowhere)
    return verdicts


def last_two(looks: Iterator[Look], *, live: bool) -> tuple[Look, Look]:
    """Look until two looks agree."""
    before = after = next(looks)
    for _ in range(ATTEMPTS if live else 0):
        before, after = after, next(looks)
        if before == after:
            break
    return before, after


def runs_by_page(pages: int, verdicts: dict[int, Judgement]) -> list[PageRun]:
    """Return runs of equal verdicts."""
    absent = Verdict.UNKNOWN, Reason.NOT_PRESENT
    runs: list[PageRun] = []
    for page in range(pages):
        one = PageRun(page, 1, *verdicts.get(page, absent))
        if runs and (runs[-1].verdict, runs[-1].reason) == (one.verdict, one.reason):
            last = runs.pop()
            one = PageRun(last.first_page, last.pages + 1, last.verdict, last.reason)
        runs.append(one)
    return runs
