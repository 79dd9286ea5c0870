# SPDX-License-Identifier: GPL-2.0-or-later
"""Judging the mappings of a frame against what struct page counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.commandfacts import alias_report
from unit.facts import PAGE, user_walk

from pageproof.arch.x86_64 import X86_64
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.judge.alias import alias_findings, doubt_findings
from pageproof.judge.tasks import task_findings
from pageproof.model import TaskFault
from pageproof.model.alias import Alias, SweepGap
from pageproof.render.where import where_words
from pageproof.walk.special import is_counted

PHYSMAP, SPECIAL = (*alias_report().kernel, *alias_report().users)
USER = replace(SPECIAL, counted=True)
SMALL = replace(PAGE, type_words="", head=PAGE.page, refcount=9)


def ids(mapcount: int | None, *aliases: Alias, refcount: int = 9) -> list[str]:
    page = replace(SMALL, mapcount=mapcount, refcount=refcount)
    return [finding.id for finding in alias_findings(X86_64, 7, page, mapcount, aliases)]


def test_special_entries_are_not_counted() -> None:
    walk = user_walk()
    assert walk.pfn is not None
    plain = replace(walk.steps[-1], entry=walk.steps[-1].entry & ~(1 << 9))
    special = replace(plain, entry=plain.entry | 1 << 9)
    counted = replace(walk, steps=(*walk.steps[:-1], plain))
    assert is_counted(counted, X86_64, ())
    assert not is_counted(counted, X86_64, {walk.pfn})
    assert not is_counted(replace(walk, steps=(*walk.steps[:-1], special)), X86_64, ())


@pytest.mark.parametrize(
    ("mapcount", "aliases", "expected"),
    [
        (0, (PHYSMAP,), []),
        (2, (PHYSMAP, USER, USER), []),
        (1, (PHYSMAP, USER, USER), ["mapcount-wrong"]),
        (3, (PHYSMAP, USER, USER), ["mapcount-more"]),
        (None, (PHYSMAP, SPECIAL), ["special"]),
        (0, (PHYSMAP, SPECIAL), ["special"]),
        (None, (PHYSMAP, USER), ["uncounted"]),
    ],
)
def test_the_count_is_compared(
    mapcount: int | None, aliases: tuple[Alias, ...], expected: list[str]
) -> None:
    assert ids(mapcount, *aliases) == expected


def test_fewer_references_than_mappings() -> None:
    assert ids(2, USER, USER, refcount=1) == ["refcount"]
    assert ids(2, USER, USER, refcount=2) == []


def test_a_compound_page_has_the_references_of_all_its_pages() -> None:
    page = replace(SMALL, mapcount=2, refcount=1, head=PAGE.page - 64)
    assert not list(alias_findings(X86_64, 7, page, 2, (USER, USER)))


def test_memory_types_that_differ() -> None:
    assert ids(0, PHYSMAP, replace(PHYSMAP, memory_type=X86MemoryType.UC)) == [
        "memory-type-conflict"
    ]


@pytest.mark.parametrize(
    ("mapcount", "aliases", "sentence"),
    [
        (
            None,
            (PHYSMAP, SPECIAL, SPECIAL),
            "struct page does not count 2 of them because they ",
        ),
        (3, (PHYSMAP, USER), "struct page counts 3 mappings, 1 were found: the others are in "),
        (0, (USER, USER), "more entries map the frame than struct page counts: "),
        (None, (USER,), "1 mappings that the kernel should count, but the page is offline"),
    ],
)
def test_what_is_told(mapcount: int | None, aliases: tuple[Alias, ...], sentence: str) -> None:
    page = replace(SMALL, mapcount=mapcount, type_words="offline")
    (found,) = alias_findings(X86_64, 7, page, mapcount, aliases)
    assert where_words(found.where) == "PFN 0x7"
    assert found.sentence.startswith(sentence)


def test_a_page_of_no_type_and_no_page_at_all() -> None:
    (found,) = alias_findings(X86_64, 7, replace(SMALL, mapcount=None), None, (USER,))
    assert found.sentence.endswith("but the page is of a type without such a count")
    (found,) = alias_findings(X86_64, 7, None, None, (USER,))
    assert found.sentence.endswith("but there is no struct page")
    assert not list(alias_findings(X86_64, 7, None, None, (PHYSMAP,)))


def test_references_and_types_are_told() -> None:
    page = replace(SMALL, mapcount=2, refcount=1)
    unlike = replace(USER, memory_type=X86MemoryType.UC)
    nothing = replace(PHYSMAP, memory_type=None)
    found = list(alias_findings(X86_64, 7, page, 2, (USER, unlike, nothing)))
    assert [(one.id, where_words(one.where)) for one in found] == [
        ("refcount", "PFN 0x7"),
        ("memory-type-conflict", "PFN 0x7"),
    ]
    assert found[0].sentence.startswith("1 references for 2 mappings: ")
    assert found[1].evidence == (("types", "UC, WB"),)
    assert not list(alias_findings(X86_64, 7, replace(page, refcount=2), 2, (USER, USER, nothing)))


@pytest.mark.parametrize(
    ("kind", "aliases", "expected"),
    [
        ("buddy", (USER,), ["frame-is-free"]),
        ("buddy", (SPECIAL,), ["frame-is-free", "special"]),
        ("buddy", (PHYSMAP,), []),
        ("table", (SPECIAL,), ["user-maps-table", "special"]),
        ("table", (PHYSMAP,), []),
        ("slab", (USER,), ["user-maps-slab"]),
        ("slab", (SPECIAL,), ["special"]),
        ("hugetlb", (USER,), []),
    ],
)
def test_what_no_process_may_map(
    kind: str, aliases: tuple[Alias, ...], expected: list[str]
) -> None:
    page = replace(SMALL, mapcount=None, type_words=kind, buddy=kind == "buddy")
    found = list(alias_findings(X86_64, 7, page, None, aliases))
    assert [one.id for one in found] == expected
    assert {where_words(one.where) for one in found} <= {"PFN 0x7"}


def test_the_counts_are_the_evidence() -> None:
    (found,) = alias_findings(X86_64, 7, replace(SMALL, mapcount=1), 1, (PHYSMAP, USER, USER))
    assert (found.id, where_words(found.where)) == ("mapcount-wrong", "PFN 0x7")
    assert found.evidence == (("mappings", "2"), ("counted", "1"))


def test_a_large_folio_that_is_counted_as_a_whole_is_no_finding() -> None:
    """CONFIG_NO_PAGE_MAPCOUNT (6.15): the page has a field, and page_mapcount() gives None."""
    assert not list(alias_findings(X86_64, 7, replace(SMALL, mapcount=0), None, (USER,)))


def test_every_reason_why_mappings_may_be_missing() -> None:
    doubts = (
        TaskFault(12, "cat", "its VMAs keep changing"),
        SweepGap("pid 13", unreadable=True),
        SweepGap("init_mm", unreadable=False),
    )
    fault, unread, limit = doubt_findings(doubts)
    assert (fault.id, where_words(fault.where)) == ("task-unreadable", "pid 12 cat")
    assert fault.evidence == (("reason", "its VMAs keep changing"),)
    assert [(one.id, where_words(one.where)) for one in (unread, limit)] == [
        ("incomplete", "pid 13"),
        ("incomplete", "init_mm"),
    ]
    assert unread.sentence.endswith("there are tables that cannot be read")
    assert limit.sentence.endswith("there are more entries than pageproof reads")


def test_a_dump_without_slab_pages_names_its_likely_cause() -> None:
    """The same as in `verify`."""
    fault = TaskFault(0, "?", "the list of tasks: Excluded page: 0xff2c36dbc151e248")
    (found,) = doubt_findings([fault])
    assert (found,) == task_findings([fault])
    assert dict(found.evidence)["likely cause"].startswith("the dump lacks slab pages")
