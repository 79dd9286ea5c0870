# SPDX-License-Identifier: GPL-2.0-or-later
"""In which way the frames of a mapping are wrong, on hand-made facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from unit.facts import mapping

from pageproof import judge
from pageproof.judge import Differing, FramesView
from pageproof.model import MappingFacts, Severity
from pageproof.render.where import where_words

#: Of a region of four pages that are not contiguous.
FRAMES = {0: 100, 1: 110, 2: 120, 3: 130}


def private() -> MappingFacts:
    one = mapping(pages=4)
    assert one.vma is not None
    return replace(one, vma=replace(one.vma, vm_flags_words="READ|WRITE|MAYREAD|MAYWRITE"))


def differing(users: dict[int, int], **more: bool) -> tuple[Differing, ...]:
    facts = {"anonymous": False, "zeros": False, **more}
    return tuple(Differing(page, pfn, **facts) for page, pfn in users.items())


def frames(
    different: Sequence[Differing], same: int, one: MappingFacts | None = None
) -> FramesView:
    return FramesView("region", one or mapping(pages=4), tuple(different), same, FRAMES)


PRIVATE = private()
#: Of a region whose frames go down.
REVERSED = replace(frames((), 2), frames={0: 130, 1: 127, 2: 128, 3: 129})
#: Of one whose frames are contiguous, and two of them in the wrong order.
SWAPPED = replace(frames((), 2), frames={0: 100, 1: 102, 2: 101, 3: 103})
WRONG: list[tuple[str, FramesView, str]] = [
    ("zero-page", frames(differing({2: 7}, zeros=True), 3), "page 2"),
    ("zero-page", frames(differing({2: 7}, zeros=True, anonymous=True), 3, PRIVATE), "page 2"),
    ("private-copy", frames(differing({1: 500}, anonymous=True), 3, PRIVATE), "page 1"),
    ("taken-for-contiguous", frames(differing({1: 101, 2: 102, 3: 103}), 1), "pages 1-3"),
    ("taken-for-contiguous", replace(REVERSED, different=differing({1: 131, 2: 132})), "pages 1-2"),
    ("wrong-order", replace(REVERSED, different=differing({1: 129, 3: 127})), "pages 1, 3"),
    ("wrong-order", replace(SWAPPED, different=differing({1: 101, 2: 102})), "pages 1-2"),
    ("off-by-one", frames(differing({0: 110, 1: 120, 2: 130, 3: 999}), 0), "the next page"),
    ("off-by-one", frames(differing({0: 110, 1: 120, 2: 130}), 0), "the next page"),
    ("off-by-one", frames(differing({0: 999, 1: 100, 2: 110, 3: 120}), 0), "the previous page"),
    ("wrong-order", frames(differing({1: 120, 2: 110}), 2), "pages 1-2"),
    ("wrong-order", frames(differing({0: 110, 1: 120, 2: 130}), 1), "pages 0-2"),
    # Not all in one direction, or by more than a page.
    ("wrong-order", frames(differing({0: 110, 1: 100, 2: 130, 3: 120}), 0), "pages 0-3"),
    ("wrong-order", frames(differing({0: 120, 1: 130}), 0), "pages 0-1"),
    ("wrong-frame", frames(differing({1: 500, 3: 502}), 2), "pages 1, 3"),
    ("wrong-frame", frames(differing({1: 500}, anonymous=True), 3), "page 1"),
    ("wrong-frame", frames(differing({1: 500}), 3, PRIVATE), "page 1"),
    ("wrong-frame", replace(frames(differing({1: 500, 2: 501}), 0), frames={}), "pages 1-2"),
]


@pytest.mark.parametrize(("name", "view", "words"), WRONG)
def test_in_which_way_frames_are_wrong(name: str, view: FramesView, words: str) -> None:
    (found,) = judge.frame_findings(view)
    assert (found.id, found.severity) == (name, Severity.ERROR)
    assert words in found.sentence
    assert where_words(found.where) == "region, pid 133 at 0x7f8b5feb0000"
    assert found.evidence[0][0] == f"page {view.different[0].page}"


def test_several_ways_at_once() -> None:
    view = frames((*differing({0: 7}, zeros=True), *differing({1: 120}), *differing({2: 999})), 1)
    assert [f.id for f in judge.frame_findings(view)] == ["zero-page", "wrong-order", "wrong-frame"]


@pytest.mark.parametrize("users", [{0: 110, 1: 999, 2: 130}, {0: 110, 1: 120, 2: 999, 3: 998}])
def test_a_page_off_is_every_page_off(users: dict[int, int]) -> None:
    """A stranger may be at the region's end only, where the neighbour is none of it."""
    found = [one.id for one in judge.frame_findings(frames(differing(users), 0))]
    assert found == ["wrong-order", "wrong-frame"]


def test_both_frames_of_the_first_pages_are_shown() -> None:
    users = {0: 500, 1: 501, 2: 502, 3: 503, 4: 504}
    (found,) = judge.frame_findings(frames(differing(users), 0))
    assert found.evidence[0] == ("page 0", "the user's frame 0x1f4, the region's 0x64")
    assert [name for name, _ in found.evidence] == ["page 0", "page 1", "page 2", "page 3"]
    (unknown,) = judge.frame_findings(frames(differing({4: 504}), 0))
    assert unknown.evidence == (("page 4", "the user's frame 0x1f8, the region's none"),)


def test_an_address_that_no_vma_covers() -> None:
    nowhere = replace(mapping(), vma=None)
    (found,) = judge.frame_findings(frames(differing({1: 500}, anonymous=True), 3, nowhere))
    assert (found.id, where_words(found.where)) == ("wrong-frame", "region, pid 133")


def test_where_frames_are_right_nothing_is_said() -> None:
    assert list(judge.frame_findings(frames((), 4))) == []
