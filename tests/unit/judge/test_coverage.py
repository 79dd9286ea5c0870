# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of a region's extent, at its edges, and of what could not be looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.facts import USER, mapping, region

from pageproof import judge
from pageproof.model import MappingFacts, Severity
from pageproof.render.where import where_words

PAGE = 4096
NOWHERE = replace(mapping(), vma=None)


def moved(one: MappingFacts, pages: int) -> MappingFacts:
    """The same pages of the file, elsewhere in the process."""
    assert one.vma is not None
    start, end = one.vma.start + pages * PAGE, one.vma.end + pages * PAGE
    return replace(one, vma=replace(one.vma, start=start, end=end))


@pytest.mark.parametrize(
    ("user", "page"),
    [
        (USER - 1, None),
        (USER, 0),
        (USER + PAGE - 1, 0),
        (USER + PAGE, 1),
        (USER + 3 * PAGE, 3),
        (USER + 4 * PAGE - 1, 3),
        (USER + 4 * PAGE, None),
    ],
)
def test_the_page_that_belongs_at_an_address(user: int, page: int | None) -> None:
    """Of four pages, of which the third is mapped."""
    found = judge.page_at(region(4), [NOWHERE, mapping(2, 1)], user)
    assert (found, type(found)) == (page, type(page))


@pytest.mark.parametrize(
    ("one", "covered"),
    [
        (mapping(0, 4), range(4)),
        (mapping(1, 2), range(1, 3)),
        (mapping(3, 9), range(3, 4)),
        (mapping(4, 1), range(0)),
        (NOWHERE, range(0)),
    ],
)
def test_pages_that_a_mapping_covers(one: MappingFacts, covered: range) -> None:
    assert judge.mapped_pages(region(4), one) == covered


def test_a_mapping_up_to_the_regions_end_is_not_beyond_it() -> None:
    whole = mapping(0, 4)
    for one in (mapping(3, 1), NOWHERE):
        found = judge.coverage_findings(region(4), [whole, one])
        assert "mapping-beyond-region" not in {each.id for each in found}


def test_a_page_beyond_the_region_is_somebodys() -> None:
    mappings = [mapping(0, 4), mapping(3, 2, pid=200)]
    found, _partial = judge.coverage_findings(region(4), mappings)
    assert (found.id, where_words(found.where)) == ("mapping-beyond-region", "pid 200")
    assert found.sentence.startswith("1 pages of the mapping are behind the end of the region, ")


def test_nobody_maps_anything() -> None:
    assert judge.coverage_findings(region(4), []) == ()
    assert judge.unmapped_pages(region(4), []) == (0, 1, 2, 3)


def test_frames_that_a_process_has_beyond_the_end() -> None:
    first, second = judge.beyond_findings("a ring", 4, {133: 2, 134: 0, 200: 1})
    assert (first.id, first.severity) == ("mapping-beyond-region", Severity.ERROR)
    assert (where_words(first.where), where_words(second.where)) == ("pid 133", "pid 200")
    assert first.sentence.startswith(
        "2 pages of the mapping have a frame and lie behind the end of a ring, which has 4: "
    )
    assert second.sentence.startswith("1 pages ")


def test_a_kernel_side_that_could_not_be_read() -> None:
    found = judge.unread("perf", USER, "no type 'struct perf_buffer'")
    assert (found.id, found.severity) == ("region-unreadable", Severity.WARNING)
    assert where_words(found.where) == f"VMA at {USER:#x}"
    assert found.evidence == (("reason", "no type 'struct perf_buffer'"),)
    assert found.sentence.startswith("it maps memory of kind perf, ")


# A hole between two VMAs of one mapping: how to look into it


def hole(*around: MappingFacts, pages: int = 4) -> tuple[tuple[str, str], ...]:
    """What is said of the one process that lacks a page, beside another that has all."""
    (found,) = judge.coverage_findings(region(pages), [mapping(0, pages, pid=1), *around])
    return found.evidence


def test_a_hole_is_looked_at_where_it_begins() -> None:
    for start, end in ((1, 2), (1, 3), (2, 3)):
        shown = hole(mapping(0, start), mapping(end, 4 - end))
        command = f"verify --pid 133 --user {USER + start * PAGE:#x}"
        assert shown == (("to see what is there", command),)
    behind = hole(mapping(1, 1), mapping(3, 2), pages=5)
    assert behind == (("to see what is there", f"verify --pid 133 --user {USER + 2 * PAGE:#x}"),)


@pytest.mark.parametrize(
    "around",
    [
        (mapping(0, 3),),  # the end is not mapped
        (mapping(1, 3),),  # the beginning is not
        (mapping(0, 1), moved(mapping(2, 2), 1)),  # two mappings
        (mapping(0, 1), replace(mapping(), vma=None)),
    ],
)
def test_what_is_no_hole(around: tuple[MappingFacts, ...]) -> None:
    assert hole(*around) == ()


def test_a_hole_is_one_process_own() -> None:
    """Another one's VMA behind it makes none of what is a mapping's end."""
    found = judge.coverage_findings(
        region(4), [mapping(0, 4, pid=1), mapping(0, 2), mapping(3, 1, pid=200)]
    )
    assert [(where_words(one.where), one.evidence) for one in found] == [
        ("pid 133", ()),
        ("pid 200", ()),
    ]
