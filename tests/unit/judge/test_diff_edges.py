# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two reports, at the edges: the order, what is whose, what goes on."""

from __future__ import annotations

from dataclasses import replace

from unit.diffs import (
    ABSENT,
    DIFFERENT,
    OWNER,
    SAME,
    SOUND,
    Said,
    Use,
    code,
    compare,
    region,
    use,
    whole,
)
from unit.facts import USER, evidence, kernel_walk, lost_walk, mapping, report, user_walk

from pageproof.model import MappingFacts, Outcome, PageEvidence, Reason, Report, Verdict
from pageproof.model.diff import Aspect, Change, DiffReport, Opinion, Side

PAGE = 4096
BASE = USER + 0x100_0000


def changes(found: DiffReport) -> list[tuple[Change, int]]:
    return [(one.change, one.pid) for one in found.mappings]


def vma_with(facts: MappingFacts, **changed: object) -> MappingFacts:
    assert facts.vma is not None
    return replace(facts, vma=replace(facts.vma, **changed))  # type: ignore[arg-type]


def use_with(one: Use, *, mm: int | None = None, **vma: object) -> Use:
    facts, runs = one
    facts = facts if mm is None else replace(facts, mm=mm)
    return vma_with(facts, **vma), runs


# The order: by region, then by process, then by address


def test_by_region_first() -> None:
    """perf's process has the smaller PID, and the second io_uring the smaller address."""
    old = (
        region(use((2, SAME), pid=7), kind="perf", pages=2),
        region(use((2, SAME), pid=9), kind="io_uring", owner=OWNER + 64, pages=2),
        region(use((2, SAME), pid=9, base=BASE), kind="io_uring", pages=2),
    )
    new = (
        region(use((2, DIFFERENT), pid=7), kind="perf", pages=2),
        region(use((2, DIFFERENT), pid=9), kind="io_uring", owner=OWNER + 64, pages=2),
        region(use((2, DIFFERENT), pid=9, base=BASE), kind="io_uring", pages=2),
    )
    order = [("io_uring", OWNER), ("io_uring", OWNER + 64), ("perf", OWNER)]
    for found in (compare(whole(), whole(*old)), compare(whole(*old), whole())):
        assert [(one.region.kind, one.region.owner) for one in found.regions] == order
        told = [one.region for one in found.mappings]
        assert [(one.kind, one.owner) for one in told if one] == order
    for found in (compare(whole(*old), whole(*new)), compare(whole(), whole(*new))):
        names = [one.region for one in found.verdicts]
        assert [(one.kind, one.owner) for one in names if one] == order


def test_by_process_and_address_within_a_region() -> None:
    uses = (
        use((2, SAME), pid=9),
        use((2, SAME), pid=8, base=BASE),
        use((2, SAME), pid=8),
    )
    order = [(8, USER), (8, BASE), (9, USER)]
    some = whole(region(*uses, pages=2))
    gone = compare(some, whole(region(pages=2))).mappings
    assert [(one.pid, one.old[0].start) for one in gone] == order
    new = compare(whole(region(pages=2)), some).mappings
    assert [(one.pid, one.new[0].start) for one in new] == order


def test_what_got_worse_before_what_is_new() -> None:
    old = region(use((8, SAME), pid=500))
    new = region(use((7, SAME), (1, DIFFERENT), pid=500), use((8, DIFFERENT), pid=7))
    found = compare(whole(old), whole(new)).verdicts
    assert [(one.pid, one.old) for one in found] == [(500, Opinion(*SAME)), (7, None)]


def test_frames_by_region_and_side() -> None:
    """The module's region after another of which the process has the smaller PID."""
    pids = {0: 200, 1: 133}

    def made(frame: int) -> Report:
        kernel = replace(kernel_walk(), paddr=frame, pfn=frame >> 12)
        one = evidence(0, kernel, user_walk(frame=frame))
        mappings = tuple(mapping(0, 1, pid=pid) for pid in pids.values())
        both = report(one, replace(one, mapping=1, region=1), pages=1, mappings=mappings)
        (proved,) = both.regions
        first, second = (replace(proved, uses=(each,)) for each in proved.uses)
        return replace(both, regions=(replace(first, kind="a"), replace(second, kind="b")))

    found = compare(made(0x5000_0000), made(0x6000_0000)).frames
    assert [(one.region and one.region.kind, one.side, one.pid) for one in found] == [
        ("a", Side.KERNEL, 200),
        ("a", Side.USER, 200),
        ("b", Side.KERNEL, 133),
        ("b", Side.USER, 133),
    ]


# Which mapping is which


def test_another_mm_or_another_file_is_another_mapping() -> None:
    """The PID is the same: the process has executed another program, or mapped another file."""
    one = use((8, SAME))
    assert one[0].vma is not None
    other = one[0].vma.file
    assert other is not None
    for changed in (
        use_with(one, mm=0xFFFF_8880_7777_0000),
        use_with(one, file=replace(other, inode=other.inode + 64)),
        use_with(one, file=None),
    ):
        found = compare(whole(region(one)), whole(region(changed)))
        assert changes(found) == [(Change.GONE, 133), (Change.NEW, 133)]


def test_what_has_no_file_is_known_again_and_named_by_its_operations() -> None:
    one = use_with(use((8, SAME)), file=None, vm_ops_symbol="special_mapping_vmops")
    assert compare(whole(region(one)), whole(region(one))).mappings == ()
    (gone,) = compare(whole(region(one)), whole(region())).mappings
    assert gone.file == "special_mapping_vmops"
    (gone,) = compare(whole(SOUND), whole(region())).mappings
    assert gone.file == "umh_shm"


def test_a_mapping_that_grew_has_new_pages() -> None:
    """What lay behind the old one's end had no verdict."""
    old = region(use((3, SAME)))
    found = compare(whole(old), whole(region(use((3, SAME), (5, DIFFERENT)))))
    (change,) = found.verdicts
    assert (change.page, change.pages, change.old) == (3, 5, None)
    assert code(found) == 1
    found = compare(whole(old), whole(region(use((3, SAME), (5, ABSENT)))))
    assert (found.verdicts, code(found)) == ((), 0)


def test_a_mapping_that_moved_and_changed() -> None:
    moved = region(use((8, SAME), base=BASE, flags=0xD3))
    (change,) = compare(whole(SOUND), whole(moved)).mappings
    assert (change.change, change.aspects) == (Change.MOVED, (Aspect.VM_FLAGS,))


def test_pages_of_the_region_are_told() -> None:
    """What is page 0 of the file is page 10 of the region: io_uring maps its parts at offsets."""

    def shifted(*said: tuple[int, Said]) -> Report:
        one = whole(region(use(*said, first=2), pages=20))
        (proved,) = one.regions
        (each,) = proved.uses
        return replace(one, regions=(replace(proved, uses=(replace(each, first_page=10),)),))

    found = compare(shifted((8, SAME)), shifted((3, SAME), (5, DIFFERENT)))
    (change,) = found.verdicts
    assert (change.page, change.pages, change.user_address) == (13, 5, USER + 5 * PAGE)


def test_a_frame_of_a_mapping_that_moved() -> None:
    """Pages keep their numbers, wherever they are now."""
    frame = 0x5000_0000
    one = evidence(0, user=user_walk(frame=frame))
    moved = replace(one, user_address=BASE, user_walk=replace(user_walk(), address=BASE))
    there = vma_with(mapping(0, 1), start=BASE, end=BASE + PAGE)
    found = compare(report(one), report(moved, mappings=(there,)))
    assert [one.change for one in found.mappings] == [Change.MOVED]
    assert [(one.side, one.user_address, one.old_pfn, one.new_pfn) for one in found.frames] == [
        (Side.USER, BASE, frame >> 12, 0x3400)
    ]


# Addresses that the user named: of no region


def named(*evidences: PageEvidence, mappings: tuple[MappingFacts, ...] | None = None) -> Report:
    alone = [replace(one, region=None, page_index=None) for one in evidences]
    return replace(report(*alone, mappings=mappings), regions=())


def private(page: int = 0) -> PageEvidence:
    return evidence(page, user=user_walk(page, frame=0x7654_3000 + page * PAGE))


def test_a_named_page_that_is_not_there_any_more() -> None:
    found = compare(named(evidence()), named(evidence(user=lost_walk(Outcome.SWAP))))
    (change,) = found.verdicts
    assert change.new == Opinion(Verdict.UNKNOWN, Reason.SWAPPED)
    assert code(found) == 3


def test_named_pages_are_told_in_runs() -> None:
    found = compare(named(*map(evidence, range(3))), named(*map(private, range(3))))
    (change,) = found.verdicts
    assert (change.region, change.page, change.user_address, change.pages) == (None, None, USER, 3)


def test_named_addresses_stand_for_themselves() -> None:
    """Though the VMA around them begins elsewhere now."""
    lower = vma_with(mapping(), start=USER - PAGE)
    found = compare(named(evidence()), named(private(), mappings=(lower,)))
    (change,) = found.verdicts
    assert (change.old, change.user_address) == (Opinion(*SAME), USER)
    (mapped,) = found.mappings
    assert (mapped.change, mapped.aspects) == (Change.CHANGED, (Aspect.PAGES,))


def test_named_addresses_of_several_vmas() -> None:
    both = (mapping(0, 1), mapping(4, 1))
    two = (evidence(0), replace(evidence(4), mapping=1))
    assert compare(named(*two, mappings=both), named(*two, mappings=both)).mappings == ()
    (change,) = compare(named(*two, mappings=both), named(evidence(0))).mappings
    assert (change.change, change.aspects) == (Change.CHANGED, (Aspect.PAGES,))
    assert [span.start for span in change.old] == [USER, USER + 4 * PAGE]
    assert [span.start for span in change.new] == [USER]


def test_named_addresses_of_another_process() -> None:
    for other in (mapping(pid=200), replace(mapping(), mm=0xFFFF_8880_7777_0000)):
        found = compare(named(evidence()), named(evidence(), mappings=(other,)))
        assert changes(found) == [(Change.GONE, 133), (Change.NEW, other.pid)]


def test_named_addresses_that_no_vma_covers() -> None:
    here, there = (replace(mapping(pid=pid), vma=None) for pid in (133, 200))
    one = named(evidence(), mappings=(replace(mapping(), pid=133),))
    found = compare(replace(one, mappings=(here,)), replace(one, mappings=(there,)))
    assert changes(found) == [(Change.GONE, 133), (Change.NEW, 200)]
    assert [(each.file, each.old, each.new) for each in found.mappings] == [("", (), ())] * 2


def test_a_named_address_in_a_mapping_of_a_region() -> None:
    """Evidence of no region, beside the region's own verdicts."""
    old, new = (
        report(replace(one, region=None, page_index=None)) for one in (evidence(), private())
    )
    (change,) = compare(old, new).verdicts
    assert (change.region, change.pid, change.user_address) == (None, 133, USER)
    assert (change.old, change.new) == (Opinion(*SAME), Opinion(*DIFFERENT))
