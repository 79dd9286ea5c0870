# SPDX-License-Identifier: GPL-2.0-or-later
"""Judges on hand-made facts: for each rule one case that fires and one that stays silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.facts import (
    FRAME,
    LIVE,
    PAGE,
    USER,
    content,
    evidence,
    kernel_walk,
    lost_walk,
    mapping,
    proof,
    region,
    report,
    user_walk,
)

from pageproof import judge
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.errors import Exit
from pageproof.model import (
    Outcome,
    PageEvidence,
    Permissions,
    Reason,
    SecondOpinion,
    Severity,
    TaskFault,
    Verdict,
    Walk,
)
from pageproof.render.where import where_words
from pageproof.walk.compare import agree, compare

ELSEWHERE = 0x7654_3000
NOWHERE = SecondOpinion(None, None, "address is not mapped")


READ_ONLY = replace(kernel_walk(), permissions=Permissions(write=False, execute=False, user=False))


def different() -> PageEvidence:
    return evidence(user=user_walk(frame=ELSEWHERE))


# Verdicts


def test_same_frame_is_same() -> None:
    got = proof(evidence())
    assert (got.verdict, got.reason) == (Verdict.SAME, None)
    assert got.findings == ()


def test_another_frame_is_different() -> None:
    got = proof(different())
    assert (got.verdict, got.reason) == (Verdict.DIFFERENT, None)


def test_frame_zero_is_a_frame_like_any_other() -> None:
    kernel = replace(kernel_walk(), paddr=0, pfn=0)
    assert proof(evidence(kernel=kernel, user=user_walk(frame=0))).verdict is Verdict.SAME
    assert proof(evidence(kernel=kernel)).verdict is Verdict.DIFFERENT


def test_equal_content_makes_nothing_same() -> None:
    """Two frames with the same bytes, zero pages above all, are two frames."""
    zero = replace(different(), content=content(zero=True))
    assert proof(zero).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.NONE, Reason.NOT_PRESENT),
        (Outcome.NON_CANONICAL, Reason.NOT_PRESENT),
        (Outcome.GUARD_MARKER, Reason.NOT_PRESENT),
        (Outcome.UFFD_WP_MARKER, Reason.NOT_PRESENT),
        (Outcome.OTHER_MARKER, Reason.NOT_PRESENT),
        (Outcome.SPECIAL, Reason.NOT_PRESENT),
        (Outcome.RESERVED_BITS, Reason.DAMAGED),
        (Outcome.DEVICE_PRIVATE, Reason.NOT_PRESENT),
        (Outcome.SWAP, Reason.SWAPPED),
        (Outcome.MIGRATION, Reason.TORN),
        (Outcome.INVALIDATED, Reason.TORN),
        (Outcome.HWPOISON, Reason.UNREADABLE),
        (Outcome.POISON_MARKER, Reason.UNREADABLE),
        (Outcome.UNREADABLE, Reason.UNREADABLE),
        (Outcome.EXCLUDED, Reason.EXCLUDED),
        (Outcome.ZERO_FILLED, Reason.ZERO_FILLED),
    ],
)
def test_no_frame_is_unknown_with_its_reason(outcome: Outcome, reason: Reason) -> None:
    got = proof(evidence(user=lost_walk(outcome)))
    assert (got.verdict, got.reason) == (Verdict.UNKNOWN, reason)
    assert "the user side has no frame: PTE entry 176" in got.sentence


def test_a_frame_that_is_nowhere_is_no_difference() -> None:
    """No memory and no device has it: a damaged entry, which proves nothing."""
    one = evidence(user=user_walk(0, ELSEWHERE))
    assert proof(one).verdict is Verdict.DIFFERENT
    for what in ("kernel frame", "user frame"):
        got = proof(replace(one, damaged=((what, "nothing is there"),)))
        assert (got.verdict, got.reason) == (Verdict.UNKNOWN, Reason.DAMAGED)
        assert got.sentence == f"the {what} is impossible: nothing is there"
    page = replace(one, damaged=(("struct page", "it is none"),))
    assert proof(page).verdict is Verdict.DIFFERENT
    same = replace(evidence(), damaged=(("struct page", "it is none"),))
    assert proof(same).verdict is Verdict.SAME
    assert [(found.id, found.severity) for found in proof(same).findings] == [
        ("data-damaged", Severity.WARNING)
    ]


def test_ends_are_compared_by_what_is_there() -> None:
    user, kernel = (Outcome.MAPPED, 0x1000), (Outcome.MAPPED, 0x2000)
    damaged = (Verdict.UNKNOWN, Reason.DAMAGED)
    assert compare(user, kernel) == (Verdict.DIFFERENT, None)
    for nowhere in (0x1000, 0x2000):
        # A set: None is not in it.
        assert compare(user, kernel, {nowhere}.__contains__) == damaged
        # Both have it: that is a device nobody has told the kernel of.
        same = (Outcome.MAPPED, nowhere)
        assert compare(same, same, {nowhere}.__contains__) == (Verdict.SAME, None)


def test_every_outcome_has_a_verdict() -> None:
    for outcome in Outcome:
        walk = user_walk() if outcome is Outcome.MAPPED else lost_walk(outcome)
        if outcome is Outcome.PROT_NONE:
            walk = replace(user_walk(), outcome=outcome)
        assert judge.judge_page(evidence(user=walk))[0] in Verdict


def test_a_kernel_side_without_a_frame_is_unknown_too() -> None:
    lost = replace(kernel_walk(), outcome=Outcome.EXCLUDED, paddr=None, pfn=None, detail="x")
    got = proof(evidence(kernel=lost))
    assert got.reason is Reason.EXCLUDED
    assert "kernel side" in got.sentence


def test_a_user_side_alone_is_not_a_page_that_nobody_touched() -> None:
    absent = replace(kernel_walk(), outcome=Outcome.NONE, paddr=None, pfn=None, detail="x")
    assert proof(evidence(kernel=absent)).reason is Reason.NO_KERNEL_SIDE
    both = proof(evidence(kernel=absent, user=lost_walk(Outcome.NONE)))
    assert both.reason is Reason.NOT_PRESENT


def lost_kernel(outcome: Outcome) -> Walk:
    return replace(kernel_walk(), outcome=outcome, paddr=None, pfn=None, detail="x")


@pytest.mark.parametrize(
    ("kernel", "user", "side", "reason"),
    [
        (Outcome.EXCLUDED, Outcome.MAPPED, "kernel", Reason.EXCLUDED),
        (Outcome.EXCLUDED, Outcome.SWAP, "kernel", Reason.EXCLUDED),
        (Outcome.MIGRATION, Outcome.NONE, "kernel", Reason.TORN),
        (Outcome.NONE, Outcome.MAPPED, "kernel", Reason.NO_KERNEL_SIDE),
        (Outcome.NONE, Outcome.SWAP, "user", Reason.SWAPPED),
        (Outcome.NONE, Outcome.NONE, "user", Reason.NOT_PRESENT),
        (Outcome.MAPPED, Outcome.SWAP, "user", Reason.SWAPPED),
    ],
)
def test_the_sentence_is_of_the_side_that_the_reason_is_of(
    kernel: Outcome, user: Outcome, side: str, reason: Reason
) -> None:
    """What is not known comes before what is not there."""
    one = evidence(
        kernel=None if kernel is Outcome.MAPPED else lost_kernel(kernel),
        user=None if user is Outcome.MAPPED else lost_walk(user),
    )
    got = proof(one)
    assert (got.verdict, got.reason) == (Verdict.UNKNOWN, reason)
    detail = "x" if side == "kernel" else "PTE entry 176 of the table"
    assert got.sentence.startswith(f"the {side} side has no frame: {detail}")
    assert compare((user, None), (kernel, None)) == (Verdict.UNKNOWN, reason)


@pytest.mark.parametrize("kernel", [Outcome.MAPPED, Outcome.PROT_NONE])
@pytest.mark.parametrize("user", [Outcome.MAPPED, Outcome.PROT_NONE])
def test_frames_alone_are_compared(kernel: Outcome, user: Outcome) -> None:
    """Frame 0 is one too."""
    assert compare((user, 0), (kernel, 0)) == (Verdict.SAME, None)
    assert compare((user, 0), (kernel, 0x1000)) == (Verdict.DIFFERENT, None)


def test_nothing_but_two_frames_is_ever_same() -> None:
    """Whatever the outcomes: where a side has no frame, two that are None are not the same."""
    frames = {Outcome.MAPPED, Outcome.PROT_NONE}
    for kernel in Outcome:
        for user in Outcome:
            verdict, _ = compare((user, None), (kernel, None))
            assert (verdict is Verdict.UNKNOWN) == (not {kernel, user} <= frames)


@pytest.mark.parametrize(
    ("seen", "before", "verdict", "reason"),
    [
        (different(), Verdict.SAME, Verdict.UNKNOWN, Reason.TORN),
        (different(), Verdict.UNKNOWN, Verdict.UNKNOWN, Reason.TORN),
        (different(), Verdict.DIFFERENT, Verdict.DIFFERENT, None),
        (evidence(), Verdict.DIFFERENT, Verdict.SAME, None),
        (evidence(), Verdict.UNKNOWN, Verdict.SAME, None),
    ],
)
def test_a_page_that_is_different_only_now_has_moved(
    seen: PageEvidence, before: Verdict, verdict: Verdict, reason: Reason | None
) -> None:
    executable = Permissions(write=True, execute=True, user=True)
    seen = replace(seen, user_walk=replace(seen.user_walk, permissions=executable))
    for kind in ("umh_shm", "vdso"):
        got = judge.prove_again(seen, before, LIVE, [mapping()], kind)
        assert (got.verdict, got.reason) == (verdict, reason)
        ids = {one.id for one in got.findings}
        assert "rule-broken" not in ids
        assert ("user-mapping-executable" in ids) == (reason is not Reason.TORN and kind != "vdso")


def test_walks_that_kept_changing_are_torn_whatever_they_said() -> None:
    for one in (evidence(), different()):
        got = proof(replace(one, stable=False, attempts=5), LIVE)
        assert (got.verdict, got.reason) == (Verdict.UNKNOWN, Reason.TORN)
        assert "5 attempts" in got.sentence


def test_attempts_are_counted() -> None:
    for attempts, words in ((1, "(1 attempt)"), (2, "(2 attempts)")):
        got = proof(replace(evidence(), stable=False, attempts=attempts), LIVE)
        assert got.sentence.endswith(words)


def test_a_finding_of_an_address_that_was_named_has_no_page() -> None:
    one = replace(different(), user_page=replace(PAGE, buddy=True), page_index=None)
    for where, each in (("page 3, ", replace(one, page_index=3)), ("", one)):
        (finding,) = proof(each).findings
        assert where_words(finding.where) == f"{where}pid 133 at {USER:#x}"


def test_prot_none_still_names_the_frame() -> None:
    closed = replace(
        user_walk(),
        outcome=Outcome.PROT_NONE,
        permissions=Permissions(write=False, execute=False, user=True, access=False),
    )
    got = proof(evidence(user=closed))
    assert got.verdict is Verdict.SAME
    assert [f.id for f in got.findings] == ["prot-none"]


@pytest.mark.parametrize("side", ["kernel", "user"])
def test_a_disputed_walk_is_never_same(side: str) -> None:
    other = SecondOpinion(ELSEWHERE, ELSEWHERE >> 12)
    one = (
        replace(evidence(), kernel_second=other)
        if side == "kernel"
        else replace(evidence(), user_second=other)
    )
    got = proof(one)
    assert (got.verdict, got.reason) == (Verdict.UNKNOWN, Reason.DISPUTED)
    assert got.sentence == f"our walk and drgn's translation of the {side} address disagree"
    (finding,) = got.findings
    assert (finding.id, finding.severity) == (f"second-opinion-{side}", Severity.ERROR)
    assert ("our PFN", f"0x{FRAME >> 12:x}") in finding.evidence


def test_drgn_finding_no_frame_where_we_do_is_a_dispute() -> None:
    one = replace(evidence(), user_second=NOWHERE)
    assert proof(one).reason is Reason.DISPUTED


def test_drgn_finding_a_frame_where_nothing_is_present_is_a_dispute() -> None:
    one = replace(
        evidence(user=lost_walk(Outcome.NONE)), user_second=SecondOpinion(ELSEWHERE, 0x76543)
    )
    assert [f.id for f in proof(one).findings] == ["second-opinion-user"]


def test_drgn_taking_a_missing_table_for_data_is_no_dispute() -> None:
    for outcome in (Outcome.EXCLUDED, Outcome.ZERO_FILLED, Outcome.UNREADABLE, Outcome.MIGRATION):
        one = replace(evidence(user=lost_walk(outcome)), user_second=SecondOpinion(0, 0))
        assert proof(one).findings == ()


# agree(): what counts as a change between two walks


def test_two_equal_walks_agree() -> None:
    assert agree(user_walk(), user_walk())


def test_accessed_and_dirty_bits_are_no_change() -> None:
    walk = user_walk()
    clean = replace(walk, steps=(*walk.steps[:-1], replace(walk.steps[-1], entry=0x267)))
    assert agree(walk, clean)


@pytest.mark.parametrize(
    "after",
    [
        user_walk(frame=ELSEWHERE),
        lost_walk(Outcome.NONE),
        replace(user_walk(), permissions=Permissions(write=False, execute=False, user=True)),
        replace(user_walk(), memory_type=X86MemoryType.UC),
    ],
    ids=["frame", "gone", "write protected", "uncached"],
)
def test_a_change_that_counts(after: Walk) -> None:
    assert not agree(user_walk(), after)


# Coverage


def test_pages_that_nobody_maps_are_told() -> None:
    (finding,) = judge.coverage_findings(region(8), [mapping(0, 3)])
    assert finding.id == "region-pages-unmapped"
    assert "pages 3-7 of 8" in finding.sentence
    assert judge.unmapped_pages(region(8), [mapping(0, 3)]) == (3, 4, 5, 6, 7)


def test_a_whole_mapping_says_nothing() -> None:
    assert judge.coverage_findings(region(3), [mapping(0, 3)]) == ()


def test_two_vmas_of_one_process_may_cover_it_together() -> None:
    assert judge.coverage_findings(region(4), [mapping(0, 2), mapping(2, 2)]) == ()


def test_a_process_with_a_part_is_told_beside_one_with_the_whole() -> None:
    (finding,) = judge.coverage_findings(region(4), [mapping(0, 4), mapping(0, 1, pid=200)])
    assert (finding.id, where_words(finding.where)) == ("mapping-partial", "pid 200")
    assert "maps page 0 of the region, but not pages 1-3" in finding.sentence


def test_a_hole_between_two_vmas_says_how_to_look_into_it() -> None:
    """A page with something else over it: MAP_FIXED splits the VMA in two."""
    around = [mapping(0, 1), mapping(2, 2)]
    (finding,) = judge.coverage_findings(region(4), [mapping(0, 4, pid=1), *around])
    assert finding.evidence == (
        ("to see what is there", f"verify --pid 133 --user {USER + 4096:#x}"),
    )
    (finding,) = judge.coverage_findings(region(4), [mapping(0, 4, pid=1), mapping(0, 1)])
    assert finding.evidence == ()


def test_the_page_that_belongs_at_an_address() -> None:
    around = [mapping(2, 2)]
    assert judge.page_at(region(4), around, USER + 4096) == 1
    assert judge.page_at(region(4), around, USER) == 0
    assert judge.page_at(region(4), around, USER + 4 * 4096) is None
    assert judge.page_at(region(4), [], USER) is None


def test_a_vma_beyond_the_region_is_an_error() -> None:
    (finding,) = judge.coverage_findings(region(2), [mapping(0, 4)])
    assert (finding.id, finding.severity) == ("mapping-beyond-region", Severity.ERROR)
    assert (
        "2 pages of the mapping are behind the end of the region, which has 2" in finding.sentence
    )


def test_a_vma_that_is_wholly_beyond_the_region() -> None:
    found = {f.id: f for f in judge.coverage_findings(region(2), [mapping(0, 2), mapping(5, 4)])}
    assert "4 pages of the mapping are behind" in found["mapping-beyond-region"].sentence
    assert len(judge.mapped_pages(region(2), mapping(5, 4))) == 0


def test_a_vma_of_absurd_size_costs_nothing() -> None:
    """What was read while it changed may be anything."""
    vma = mapping().vma
    assert vma is not None
    absurd = replace(mapping(), vma=replace(vma, end=1 << 63))
    (finding,) = judge.coverage_findings(region(2), [absurd])
    assert finding.id == "mapping-beyond-region"
    assert len(judge.mapped_pages(region(2), absurd)) == 2


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([3], "page 3"),
        ([0, 1], "pages 0-1"),
        ([0, 1, 2, 5, 7, 8], "pages 0-2, 5, 7-8"),
    ],
)
def test_page_list(pages: list[int], expected: str) -> None:
    assert judge.page_list(pages) == expected


# Exit codes


@pytest.mark.parametrize(
    ("evidences", "code"),
    [
        ([evidence(0), evidence(1)], Exit.SOUND),
        ([evidence(0), different()], Exit.WRONG),
        ([evidence(0), evidence(1, user=lost_walk(Outcome.NONE, 1))], Exit.UNDECIDED),
        ([different(), evidence(user=lost_walk(Outcome.NONE))], Exit.WRONG),
        ([evidence(user=replace(user_walk(), memory_type=X86MemoryType.UC))], Exit.WRONG),
        ([evidence(kernel=READ_ONLY)], Exit.SOUND),
        ([replace(evidence(), kernel_second=SecondOpinion(1 << 12, 1))], Exit.WRONG),
        ([], Exit.UNDECIDED),
    ],
    ids=["same", "different", "unknown", "both", "error finding", "warning", "dispute", "empty"],
)
def test_exit_code(evidences: list[PageEvidence], code: Exit) -> None:
    assert report(*evidences).summary.exit_code == code


def test_a_task_that_could_not_be_searched_leaves_it_undecided() -> None:
    got = report(evidence(), faults=(TaskFault(7, "sh", "could not read 0x10"),))
    assert got.summary.exit_code == Exit.UNDECIDED
    assert [f.id for f in got.findings] == ["task-unreadable"]


def test_a_dump_without_slab_pages_names_its_likely_cause() -> None:
    """The text is that of makedumpfile 1.7.2 -l -d 31 of a 6.12, which leaves the tasks out."""
    text = "the list of tasks: could not read memory from kdump: Excluded page: 0xff2c36dbc151e248"
    (found,) = report(evidence(), faults=(TaskFault(0, "?", text),)).findings
    assert dict(found.evidence)["likely cause"].startswith("the dump lacks slab pages")
    (found,) = report(evidence(), faults=(TaskFault(7, "sh", "could not read 0x10"),)).findings
    assert dict(found.evidence).keys() == {"reason"}


def test_counts() -> None:
    got = report(evidence(0), different(), evidence(2, user=lost_walk(Outcome.SWAP, 2))).summary
    assert (got.pages, got.same, got.different, got.unknown) == (3, 1, 1, 1)
