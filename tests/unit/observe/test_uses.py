# SPDX-License-Identifier: GPL-2.0-or-later
"""What a use says about its pages, from runs."""

from __future__ import annotations

from dataclasses import replace

from unit.facts import mapping

from pageproof.find.shared import Claim, Claimed
from pageproof.find.shared.finder import Finder
from pageproof.model import Outcome, PageRun, Reason, Verdict
from pageproof.observe.uses import Use
from pageproof.observe.verdicts import NOT_PRESENT, SAME, TORN
from pageproof.walk import Side

OTHER = (Verdict.DIFFERENT, None)
RUNS = (
    PageRun(0, 2, *NOT_PRESENT),
    PageRun(2, 3, *SAME),
    PageRun(5, 2, *OTHER),
    PageRun(7, 1, *TORN),
    PageRun(8, 12, *NOT_PRESENT),
)


def use(region_pages: int = 100, *, has_fault: bool = False) -> Use:
    """A VMA of 20 pages that begins at page 50 of its region."""
    finder = Finder("test", "", ("ops",), lambda vma: None, lambda prog, claim: [])
    one = mapping(50, 20)
    assert one.vma is not None
    one = replace(one, vma=replace(one.vma, has_fault=has_fault))
    return Use(0, Claimed(finder, Claim(0, "", "", "", region_pages, 50), one), 0, RUNS)


def test_pages_that_nothing_will_map() -> None:
    assert use().lacking == (range(50, 52), range(58, 70))
    assert use(60).lacking == (range(50, 52), range(58, 60))
    assert use(51).lacking == (range(50, 51),)
    assert use(50).lacking == use(3).lacking == use(has_fault=True).lacking == ()
    assert replace(use(), whole=(Verdict.UNKNOWN, Reason.TORN)).lacking == ()


def test_pages_with_another_frame() -> None:
    user = (
        Side(52, 3, None, 0, Outcome.MAPPED, same=True),
        Side(55, 3, 0x7000, 0, Outcome.MAPPED, same=False),
        Side(60, 1, None, 0, Outcome.SWAP, same=False),
    )
    assert list(replace(use(), user=user).different()) == [(5, 0x7000), (6, 0x8000)]
