# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two reports: each kind of change, and none."""

from dataclasses import replace

import pytest
from unit.diffs import (
    ABSENT,
    DIFFERENT,
    EXCLUDED,
    OWNER,
    SAME,
    SOUND,
    Said,
    code,
    compare,
    finding,
    rebooted,
    region,
    use,
    whole,
)
from unit.facts import (
    CORE,
    LIVE,
    PAGING,
    USER,
    evidence,
    kernel_walk,
    lost_walk,
    mapping,
    report,
    user_walk,
)

from pageproof.model import Outcome, Severity, Verdict
from pageproof.model.diff import Aspect, Change, Opinion, Side
from pageproof.render.table import to_text
from pageproof.render.where import where_words


def test_nothing_changed() -> None:
    live = replace(whole(SOUND), target=LIVE)
    found = compare(live, replace(whole(SOUND), target=CORE))
    assert (code(found), found.summary.changes, found.boot) == (0, 0, ())
    assert "nothing has changed\n" in to_text(found)


def test_of_nothing_nothing_is_decided() -> None:
    found = compare(whole(), whole())
    assert code(found) == 3
    assert "there is no page to compare" in to_text(found)


def test_one_report_without_pages_is_no_doubt() -> None:
    assert code(compare(whole(), whole(SOUND))) == 0
    assert code(compare(whole(SOUND), whole())) == 0


# Regions


def test_a_region_that_is_gone() -> None:
    other = region(use((2, SAME), pid=7), owner=OWNER + 64, kind="perf", pages=2)
    found = compare(whole(SOUND, other), whole(SOUND))
    assert [(one.change, one.region.kind) for one in found.regions] == [(Change.GONE, "perf")]
    assert [(one.change, one.pid) for one in found.mappings] == [(Change.GONE, 7)]
    assert (code(found), found.verdicts) == (0, ())
    back = compare(whole(SOUND), whole(SOUND, other))
    assert [(one.change, one.region.owner) for one in back.regions] == [(Change.NEW, OWNER + 64)]
    assert code(back) == 0


def test_a_region_of_another_object_is_another_region() -> None:
    found = compare(whole(SOUND), whole(region(use((8, SAME)), owner=OWNER + 64)))
    assert [one.change for one in found.regions] == [Change.NEW, Change.GONE][::-1]


def test_a_region_that_grew() -> None:
    found = compare(whole(SOUND), whole(region(use((8, SAME)), pages=16)))
    (change,) = found.regions
    assert change.change is Change.CHANGED
    assert [(one.name, one.old, one.new) for one in change.differences] == [("pages", "8", "16")]
    assert (found.mappings, code(found)) == ((), 0)


# Mappings


def test_a_mapping_that_is_gone_and_one_that_is_new() -> None:
    both = region(use((8, SAME)), use((8, SAME), pid=200))
    found = compare(whole(both), whole(SOUND))
    (change,) = found.mappings
    assert (change.change, change.pid, change.new, len(change.old)) == (Change.GONE, 200, (), 1)
    assert (code(found), found.regions, found.verdicts) == (0, (), ())
    (change,) = compare(whole(SOUND), whole(both)).mappings
    assert (change.change, change.pid, change.old, len(change.new)) == (Change.NEW, 200, (), 1)


def test_a_mapping_that_moved() -> None:
    moved = region(use((3, SAME), (5, ABSENT), base=USER + 0x10_0000))
    found = compare(whole(SOUND), whole(moved))
    (change,) = found.mappings
    assert (change.change, change.aspects) == (Change.MOVED, ())
    assert (change.old[0].start, change.new[0].start) == (USER, USER + 0x10_0000)
    # Its pages are still the same pages.
    (verdict,) = found.verdicts
    assert (verdict.page, verdict.pages, verdict.user_address) == (3, 5, USER + 0x10_3000)
    assert code(found) == 3


def test_of_another_process_it_is_another_mapping() -> None:
    found = compare(whole(SOUND), whole(region(use((8, SAME), base=USER + 0x10_0000, pid=7))))
    assert [one.change for one in found.mappings] == [Change.GONE, Change.NEW]


def test_two_alike_that_moved() -> None:
    """The first in memory is taken for the first."""
    old = region(use((8, SAME)), use((8, SAME), base=USER + 0x10_0000))
    new = region(use((8, SAME), base=USER + 0x20_0000), use((8, SAME), base=USER + 0x30_0000))
    ways = [
        (one.old[0].start, one.new[0].start) for one in compare(whole(old), whole(new)).mappings
    ]
    assert ways == [(USER, USER + 0x20_0000), (USER + 0x10_0000, USER + 0x30_0000)]


def test_a_mapping_that_was_split() -> None:
    """A page in the middle was unmapped: one mapping still, and its pages keep their numbers."""
    split = region(use((3, SAME)), use((2, SAME), (2, DIFFERENT), first=4))
    found = compare(whole(SOUND), whole(split))
    (change,) = found.mappings
    assert (change.change, change.aspects) == (Change.CHANGED, (Aspect.PAGES,))
    assert (len(change.old), len(change.new)) == (1, 2)
    (verdict,) = found.verdicts
    assert (verdict.page, verdict.pages) == (6, 2)
    assert code(found) == 1


def test_flags_that_changed() -> None:
    found = compare(whole(SOUND), whole(region(use((8, SAME), flags=0xD3))))
    (change,) = found.mappings
    assert (change.change, change.aspects) == (Change.CHANGED, (Aspect.VM_FLAGS,))
    assert "vm_flags" in to_text(found)
    assert "0xd1 -> 0xd3 +WRITE\n" in to_text(found)
    assert code(found) == 0


def test_page_protection_that_changed() -> None:
    facts, runs = use((8, SAME))
    assert facts.vma is not None
    other = replace(facts, vma=replace(facts.vma, vm_page_prot=0x25)), runs
    (change,) = compare(whole(SOUND), whole(region(other))).mappings
    assert change.aspects == (Aspect.VM_PAGE_PROT,)


# Verdicts


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (SAME, DIFFERENT, 1),
        (SAME, EXCLUDED, 3),
        (SAME, ABSENT, 3),
        (DIFFERENT, SAME, 0),
        (DIFFERENT, EXCLUDED, 3),
        (ABSENT, SAME, 0),
        (ABSENT, DIFFERENT, 1),
        (ABSENT, EXCLUDED, 0),
    ],
)
def test_a_verdict_that_changed(old: Said, new: Said, wanted: int) -> None:
    found = compare(
        whole(region(use((2, SAME), (1, old), (5, SAME)))),
        whole(region(use((2, SAME), (1, new), (5, SAME)))),
    )
    (change,) = found.verdicts
    assert (change.page, change.pages, change.user_address) == (2, 1, USER + 0x2000)
    assert (change.old, change.new) == (Opinion(*old), Opinion(*new))
    assert code(found) == wanted


def test_pages_are_told_in_runs() -> None:
    """However a report cuts them: like changes are one, and what stays is none."""
    old = region(use((3, SAME), (1, SAME), (4, ABSENT)))
    new = region(use((1, SAME), (2, ABSENT), (1, ABSENT), (2, ABSENT), (2, SAME)))
    found = compare(whole(old), whole(new)).verdicts
    told = [(one.page, one.pages, one.old, one.new) for one in found]
    assert told == [
        (1, 3, Opinion(*SAME), Opinion(*ABSENT)),
        (6, 2, Opinion(*ABSENT), Opinion(*SAME)),
    ]


def test_a_new_page_that_is_different() -> None:
    new = region(use((8, SAME)), use((1, SAME), (2, DIFFERENT), (5, ABSENT), pid=200))
    found = compare(whole(SOUND), whole(new))
    (change,) = found.verdicts
    assert (change.old, change.pid, change.page, change.pages) == (None, 200, 1, 2)
    assert (found.summary.different, code(found)) == (2, 1)


def test_new_pages_that_nobody_knows_are_not_worse() -> None:
    found = compare(whole(SOUND), whole(region(use((8, SAME)), use((8, ABSENT), pid=200))))
    assert (found.verdicts, code(found)) == ((), 0)


def test_different_comes_before_undecided_and_better() -> None:
    old = region(use((1, ABSENT), (2, SAME)), pages=3)
    new = region(use((1, SAME), (1, ABSENT), (1, DIFFERENT)), pages=3)
    told = [one.new.verdict for one in compare(whole(old), whole(new)).verdicts]
    assert told == [Verdict.DIFFERENT, Verdict.UNKNOWN, Verdict.SAME]


def test_addresses_that_the_user_named() -> None:
    """verify --user: no region, a proof a page; a private page has come in the middle."""
    pages = [replace(evidence(page), region=None, page_index=None) for page in range(3)]
    private = evidence(1, user=user_walk(1, frame=0x7654_3000))
    private = replace(private, region=None, page_index=None)
    old, new = (
        replace(report(*some), regions=()) for some in (pages, [pages[0], private, pages[2]])
    )
    found = compare(old, new)
    (change,) = found.verdicts
    assert (change.region, change.page, change.user_address) == (None, None, USER + 0x1000)
    assert [(one.side, one.new_pfn) for one in found.frames] == [(Side.USER, 0x76543)]
    assert "addresses given by the user" in to_text(found)
    assert code(found) == 1


# Frames


def test_frames_that_moved() -> None:
    """Of the kernel's side once, though two processes map the page."""
    mappings = (mapping(0, 2), mapping(0, 2, pid=200))
    at = 0x5000_0000
    kernel = replace(kernel_walk(1), paddr=at, pfn=at >> 12)
    moved = evidence(1, kernel, user_walk(1, frame=at))
    both = [
        evidence(0),
        evidence(1),
        replace(evidence(0), mapping=1),
        replace(evidence(1), mapping=1),
    ]
    old = report(*both, pages=2, mappings=mappings)
    new = report(both[0], moved, both[2], replace(moved, mapping=1), pages=2, mappings=mappings)
    found = compare(old, new)
    assert [(one.side, one.pid, one.page, one.old_pfn, one.new_pfn) for one in found.frames] == [
        (Side.KERNEL, 133, 1, 0x3401, 0x50000),
        (Side.USER, 133, 1, 0x3401, 0x50000),
        (Side.USER, 200, 1, 0x3401, 0x50000),
    ]
    assert (code(found), found.verdicts) == (0, ())


def test_a_frame_that_came_is_no_frame_that_moved() -> None:
    old = report(evidence(0, user=lost_walk(Outcome.NONE)))
    found = compare(old, report(evidence(0)))
    assert found.frames == ()
    assert [one.new for one in found.verdicts] == [Opinion(*SAME)]


# Findings


@pytest.mark.parametrize(
    ("severity", "wanted"), [(Severity.ERROR, 1), (Severity.WARNING, 0), (Severity.NOTE, 0)]
)
def test_a_new_finding(severity: Severity, wanted: int) -> None:
    new = finding(severity)
    found = compare(whole(SOUND), whole(SOUND, findings=(new,)))
    assert [(one.change, one.finding, one.times) for one in found.findings] == [
        (Change.NEW, new, 1)
    ]
    assert code(found) == wanted


def test_a_finding_that_is_gone() -> None:
    found = compare(whole(SOUND, findings=(finding(),)), whole(SOUND))
    assert [one.change for one in found.findings] == [Change.GONE]
    assert code(found) == 0


def test_the_same_at_another_place_is_another_finding() -> None:
    old, new = finding(), finding(where="page 1, pid 133")
    found = compare(whole(SOUND, findings=(old,)), whole(SOUND, findings=(new,)))
    assert [(one.change, where_words(one.finding.where)) for one in found.findings] == [
        (Change.NEW, "page 1, pid 133"),
        (Change.GONE, "page 0, pid 133"),
    ]
    assert code(found) == 1


def test_a_finding_that_is_worse_now() -> None:
    old, new = finding(Severity.WARNING), finding(Severity.ERROR)
    assert code(compare(whole(SOUND, findings=(old,)), whole(SOUND, findings=(new,)))) == 1


def test_a_finding_that_is_there_more_often() -> None:
    one = finding()
    found = compare(whole(SOUND, findings=(one,)), whole(SOUND, findings=(one,) * 3))
    assert [(change.change, change.times) for change in found.findings] == [(Change.NEW, 2)]
    assert found.summary.new_errors == 2
    back = compare(whole(SOUND, findings=(one,) * 3), whole(SOUND, findings=(one,)))
    assert [(change.change, change.times) for change in back.findings] == [(Change.GONE, 2)]
    assert (back.summary.new_errors, code(back)) == (0, 0)


def test_a_sentence_with_other_numbers_is_the_same_finding() -> None:
    other = replace(finding(), sentence="2 pages are wrong")
    found = compare(whole(SOUND, findings=(finding(),)), whole(SOUND, findings=(other,)))
    assert (found.findings, code(found)) == ((), 0)


# Two boots


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("page_offset_base", 0xFFFF_8880_0000_0000, 0xFF11_0000_0000_0000),
        ("vmalloc_base", 0xFFFF_C900_0000_0000, 0xFF22_0000_0000_0000),
        ("vmemmap_base", 0xFFFF_EA00_0000_0000, 0xFF33_0000_0000_0000),
        ("phys_base", 0, 0x100_0000),
        ("kernel_root", 0x2C1_0000, 0x3C1_0000),
        ("levels", 4, 5),
    ],
)
def test_two_boots(name: str, old: int, new: int) -> None:
    paging = replace(PAGING, **{name: new})  # type: ignore[arg-type]
    found = compare(whole(region(use((8, SAME), pid=7))), replace(whole(SOUND), paging=paging))
    values = (str(old), str(new)) if name == "levels" else (f"{old:#x}", f"{new:#x}")
    assert [(one.name, one.old, one.new) for one in found.boot] == [(name, *values)]
    assert (found.mappings, found.regions, code(found)) == ((), (), 3)
    assert "from two boots" in to_text(found)


def test_a_base_that_one_report_lacks_says_nothing() -> None:
    without = replace(whole(SOUND), paging=replace(PAGING, vmalloc_base=None))
    assert compare(whole(SOUND), without).boot == ()


def test_two_kernels() -> None:
    other = replace(whole(SOUND), target=replace(CORE, release="6.12.117+deb13-cloud-amd64"))
    found = compare(whole(SOUND), other)
    assert [(one.name, one.old, one.new) for one in found.boot] == [
        ("release", "6.1.0-56-cloud-amd64", "6.12.117+deb13-cloud-amd64")
    ]


def test_of_two_boots_findings_are_compared_by_id() -> None:
    old = whole(SOUND, findings=(finding(),))
    same = whole(SOUND, findings=(finding(where="page 4, pid 9"), finding(where="page 5, pid 9")))
    assert (compare(old, rebooted(same)).findings, code(compare(old, rebooted(same)))) == ((), 3)
    new = whole(SOUND, findings=(finding(name="frame-is-free"),))
    found = compare(old, rebooted(new))
    assert [(one.change, one.finding.id) for one in found.findings] == [
        (Change.NEW, "frame-is-free"),
        (Change.GONE, "wrong-frame"),
    ]
    assert code(found) == 1


def test_of_two_boots_the_newer_may_still_be_worse() -> None:
    bad = whole(region(use((8, DIFFERENT))))
    assert code(compare(whole(SOUND), rebooted(bad))) == 1
    assert code(compare(bad, rebooted(bad))) == 3
