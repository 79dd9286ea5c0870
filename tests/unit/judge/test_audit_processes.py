# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of audit about processes: their entries, their frames and their tables, at the edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.auditfacts import (
    CLASSES,
    HEAP,
    PAGE,
    SOUND,
    SPACE,
    USER,
    VMALLOC,
    leaf,
    space,
    space_with,
    suspect,
    users_with,
)
from unit.judge.test_audit_edges import CLOSED, places
from unit.judge.test_audit_rules import HUGETLB, OBJECT, UC, WB, WC, ask, tables
from unit.layouts import FOUR

from pageproof.arch.x86_64 import X86_64
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.model import Outcome, Permissions, Range, SlabState
from pageproof.model.auditfacts import AuditFacts, FrameClass, UserTable, VmaBounds, VmaTable
from pageproof.observe.audit.frames import is_odd
from pageproof.render.where import where_words

# Processes


def test_what_lies_between_vmas() -> None:
    facts = space_with(runs=(leaf(HEAP - PAGE, 0x7000, 11, USER),))
    outside = [(-1, 0), (4, 8), (9, 10)]
    assert places("user-outside-vma", facts) == [
        f"pid 1 (init), {HEAP + first * PAGE:x}-{HEAP + end * PAGE - 1:x}" for first, end in outside
    ]
    inside = f"pid 1 (init), {HEAP + 8 * PAGE:x}-{HEAP + 9 * PAGE - 1:x}"
    assert places("user-rights-beyond-vma", facts) == [inside]


def test_each_hole_ends_at_the_next_vma() -> None:
    starts = [HEAP + 2 * n * PAGE for n in range(4)]
    facts = space_with(
        vmas=VmaTable.of(*(VmaBounds(start, start + PAGE, 3) for start in starts)),
        runs=(leaf(HEAP, 0x7000, 8, USER),),
    )
    wanted = [f"pid 1 (init), {start + PAGE:x}-{start + 2 * PAGE - 1:x}" for start in starts]
    assert places("user-outside-vma", facts) == wanted


def test_what_an_entry_outside_is() -> None:
    swap = Range(HEAP - 2 * PAGE, HEAP - 1, 1, Outcome.SWAP, None, None)
    (found,) = ask("user-outside-vma", space_with(runs=(swap,))).findings
    assert found.evidence == (("entries", "swap"), ("pages", "2"))


def test_what_munmap_may_be_about_to_empty_is_undecided() -> None:
    outside = (leaf(HEAP - PAGE, 0x7000, 11, USER),)
    busy = ask("user-outside-vma", space_with(runs=outside, is_locked=True))
    why = "pid 1 (init): entries outside its VMAs, while its mmap_lock is held"
    assert (busy.findings, busy.undecided) == ((), why)
    both = ask("user-outside-vma", space_with(runs=outside, is_locked=True, gap="torn"))
    assert both.undecided == f"{why}; pid 1 (init): torn"
    assert ask("user-outside-vma", space_with(is_locked=True)) == ask("user-outside-vma", SOUND)
    (one,) = space_with(runs=outside, is_locked=True).users.spaces  # type: ignore[union-attr]
    many = users_with(spaces=tuple(replace(one, name=space(f"pid {n}")) for n in range(1, 5)))
    told = [
        f"pid {pid}: entries outside its VMAs, while its mmap_lock is held" for pid in (1, 2, 3)
    ]
    assert ask("user-outside-vma", many).undecided == "; ".join(told)


KERNEL_ONLY = Permissions(write=True, execute=True, user=False)


@pytest.mark.parametrize(
    ("flags", "may", "what"),
    [
        (1, USER, "write"),
        (3, USER, ""),
        (3, Permissions(True, True, True), "execute"),
        (7, Permissions(True, True, True), ""),
        (4, Permissions(False, True, True), ""),
        (4, Permissions(False, False, True), ""),
        (2, USER, ""),
        (0, Permissions(False, False, True), "read"),
        (8, Permissions(False, False, True), "read"),
        (0, KERNEL_ONLY, ""),
        (0, CLOSED, ""),
    ],
)
def test_rights_beyond_a_vma(flags: int, may: Permissions, what: str) -> None:
    facts = space_with(
        vmas=VmaTable.of(VmaBounds(HEAP, HEAP + PAGE, flags)), runs=(leaf(HEAP, 0x7000, 1, may),)
    )
    told = [one.sentence for one in ask("user-rights-beyond-vma", facts).findings]
    assert told == [f"a process can {what} where its VMA does not allow it"] * bool(what)


@pytest.mark.parametrize("rule", ["user-outside-vma", "user-rights-beyond-vma"])
def test_what_is_no_entry_of_its_own(rule: str) -> None:
    """A table that was walked before, one that can't be had, and nothing at all."""
    runs = (
        replace(leaf(HEAP + 8 * PAGE, 0x7000, 4, USER), shared_with=HEAP),
        Range(HEAP + 12 * PAGE, HEAP + 13 * PAGE - 1, 1, Outcome.EXCLUDED, None, None),
        Range(HEAP + 13 * PAGE, HEAP + 14 * PAGE - 1, 1, Outcome.NONE, None, None),
    )
    assert places(rule, space_with(runs=runs)) == []
    wrong = leaf(HEAP + 14 * PAGE, 0x7000, 1, USER)
    last = VmaBounds(HEAP + 15 * PAGE, HEAP + 16 * PAGE, 1)
    both = space_with(
        vmas=VmaTable.of(*SPACE.vmas, last),
        runs=(*runs, wrong, replace(wrong, start=last.start, last=last.end - 1)),
    )
    assert len(places(rule, both)) == 1


def test_the_first_reasons_are_told() -> None:
    some = tuple(replace(SPACE, name=space(f"pid {pid}"), gap="some tables") for pid in range(1, 6))
    facts = users_with(spaces=some, faults=("a", "b", "c", "d"), more_suspects=1)
    told = [f"pid {pid}: some tables" for pid in (1, 2, 3)] + ["a", "b", "c"]
    for rule in (
        "user-outside-vma",
        "user-rights-beyond-vma",
        "table-unmarked",
        "table-used-twice",
    ):
        assert ask(rule, facts).undecided.split("; ") == told
    assert ask("frame-is-free", facts).undecided.split("; ") == [
        *told,
        "1 more frames that look odd were not examined",
    ]


# Frames


@pytest.mark.parametrize(
    ("changes", "odd"),
    [
        ({}, False),
        ({"classes": FrameClass.FREE}, True),
        ({"classes": FrameClass.SLAB}, True),
        ({"classes": FrameClass.TABLE}, True),
        ({"classes": FrameClass.FREE, "places": ()}, False),
        ({"classes": FrameClass.HEAD}, False),
        ({"counted": 2}, True),
        ({"counted": 2, "mapcount": None}, False),
        ({"types": (("physmap", X86MemoryType.WB), ("pid 1", X86MemoryType.UC))}, True),
        ({"types": (("physmap", X86MemoryType.UC), ("pid 1", X86MemoryType.UC_MINUS))}, False),
    ],
)
def test_a_frame_that_some_rule_has_something_to_say_of(
    changes: dict[str, object], odd: bool
) -> None:
    facts = suspect(**changes)
    assert facts.users
    (one,) = facts.users.suspects
    assert is_odd(X86_64, one) is odd


HERE = f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}"
WHOLE = replace(OBJECT, object_bytes=8192)
FREE, SLAB, TABLE = FrameClass.FREE, FrameClass.SLAB, FrameClass.TABLE


@pytest.mark.parametrize(
    ("rule", "facts", "fires"),
    [
        ("frame-is-free", suspect(classes=FREE | FrameClass.TAIL), True),
        ("frame-is-free", suspect(classes=SLAB), False),
        ("user-maps-slab", suspect(classes=SLAB, places=()), False),
        ("user-maps-slab", suspect(classes=FREE), False),
        ("shares-slab-page", suspect(classes=SLAB, counted=0, places=()), False),
        ("shares-slab-page", suspect(counted=0), False),
        ("shares-slab-page", suspect(classes=SLAB, counted=0, slab=WHOLE), False),
        # A page of a larger object is its owner's too, up to its last byte.
        (
            "shares-slab-page",
            suspect(classes=SLAB, counted=0, slab=replace(WHOLE, offset_bytes=4096)),
            False,
        ),
        (
            "shares-slab-page",
            suspect(classes=SLAB, counted=0, slab=replace(WHOLE, offset_bytes=4097)),
            True,
        ),
        (
            "shares-slab-page",
            suspect(classes=SLAB, counted=0, slab=replace(OBJECT, object_bytes=4095)),
            True,
        ),
        (
            "object-is-free",
            suspect(classes=SLAB, counted=0, slab=replace(WHOLE, state=SlabState.FREE)),
            True,
        ),
        (
            "object-is-free",
            suspect(classes=SLAB, counted=0, slab=replace(OBJECT, state=SlabState.UNKNOWN)),
            False,
        ),
        ("user-maps-table", suspect(classes=TABLE, places=()), False),
        ("user-maps-table", suspect(classes=FrameClass.RESERVED), False),
        ("mapcount-wrong", suspect(counted=1, mapcount=0), True),
        ("mapcount-wrong", suspect(counted=1, mapcount=2), False),
        ("mapcount-wrong", suspect(counted=2, classes=FREE), False),
        ("mapcount-wrong", suspect(counted=2, classes=TABLE), False),
        ("mapcount-wrong", suspect(counted=2, classes=FrameClass.RESERVED), True),
        ("memory-type-conflict", suspect(types=()), False),
        ("memory-type-conflict", suspect(types=(("a", WB), ("b", WB))), False),
        ("memory-type-conflict", suspect(types=(("a", X86MemoryType.UC_MINUS), ("b", WC))), True),
    ],
)
def test_frames(rule: str, facts: AuditFacts, fires: bool) -> None:
    assert places(rule, facts) == [HERE] * fires


MANY = tuple((space(f"pid {pid}"), HEAP) for pid in range(10))
PFN = ("PFN", "0x7")
MAPPED = tuple(("mapped at", f"{name} {HEAP:x}") for name, _ in MANY[1:8])
KINDS = tuple((str(name), UC if str(name) == "pid 9" else WB) for name, _ in MANY)


@pytest.mark.parametrize(
    ("rule", "changes", "evidence"),
    [
        ("frame-is-free", {"classes": FREE}, (PFN, *MAPPED)),
        ("user-maps-slab", {"classes": SLAB}, (PFN, *MAPPED)),
        ("shares-slab-page", {"classes": SLAB, "counted": 0}, (PFN, *MAPPED)),
        (
            "shares-slab-page",
            {"classes": SLAB, "counted": 0, "slab": replace(OBJECT, object_bytes=64)},
            (
                PFN,
                ("first object", f"{OBJECT.start:#x} of kmalloc-4k, 64 bytes, allocated"),
                *MAPPED,
            ),
        ),
        ("user-maps-table", {"classes": TABLE}, (PFN, *MAPPED)),
        (
            "mapcount-wrong",
            {"counted": 2},
            (PFN, ("mappings", "2"), ("counted", "1"), *MAPPED),
        ),
        (
            "memory-type-conflict",
            {"types": KINDS},
            (PFN, ("types", "UC, WB"), *((str(name), "WB") for name, _ in MANY[:8]), *MAPPED),
        ),
    ],
)
def test_the_first_mappings_of_a_frame_are_shown(
    rule: str, changes: dict[str, object], evidence: tuple[tuple[str, str], ...]
) -> None:
    (found,) = ask(rule, suspect(places=MANY, **changes)).findings
    assert found.evidence == evidence
    assert where_words(found.where) == f"pid 0, {HEAP:x}-{HEAP + 4095:x}"


def test_frames_that_are_sound_are_passed_over() -> None:
    assert SOUND.users is not None
    (one,) = suspect(classes=FREE).users.suspects  # type: ignore[union-attr]
    other = replace(one, pfn=8, places=((space("pid 1 (init)"), HEAP + 2 * 4096),))
    some = (other, replace(one, classes=FrameClass(0)), one)
    wanted = [HERE, f"pid 1 (init), {HEAP + 0x2000:x}-{HEAP + 0x2FFF:x}"]
    assert places("frame-is-free", users_with(suspects=some)) == wanted


def test_adjoining_pages_are_one_finding() -> None:
    """In whatever order their frames are, and not over the border of a process."""
    (one,) = suspect(classes=FREE).users.suspects  # type: ignore[union-attr]
    some = [
        replace(one, pfn=pfn, places=((space(f"pid {pid}"), HEAP + page * 4096),))
        for pid, page, pfn in ((7, 2, 3), (7, 0, 9), (8, 1, 8), (7, 1, 5), (7, 4, 6), (8, 5, 4))
    ]
    found = ask("frame-is-free", users_with(suspects=tuple(some))).findings
    assert [where_words(finding.where) for finding in found] == [
        f"pid 7, {HEAP:x}-{HEAP + 0x2FFF:x}",
        f"pid 7, {HEAP + 0x4000:x}-{HEAP + 0x4FFF:x}",
        f"pid 8, {HEAP + 0x1000:x}-{HEAP + 0x1FFF:x}",
        f"pid 8, {HEAP + 0x5000:x}-{HEAP + 0x5FFF:x}",
    ]
    assert found[0].evidence == (("pages", "3"), ("evidence", "of the first page"), ("PFN", "0x9"))
    assert found[1].evidence == (("PFN", "0x6"),)
    # More than are given one by one.
    many = [replace(one, pfn=n, places=((space("pid 7"), HEAP + n * 4096),)) for n in range(200)]
    judged = ask("frame-is-free", users_with(suspects=tuple(many)))
    assert (len(judged.findings), judged.more) == (1, 0)
    assert judged.findings[0].evidence[0] == ("pages", "200")
    # Frames that no process maps are counted by one.
    kinds = {"types": (("a", UC), ("b", WB)), "places": ()}
    frames = [replace(one, pfn=pfn, classes=FrameClass(0), **kinds) for pfn in (9, 0xA, 0xC)]
    assert places("memory-type-conflict", users_with(suspects=tuple(frames))) == [
        "PFN 0x9-0xa",
        "PFN 0xc-0xc",
    ]


# Tables


def marked(value: int, *more: UserTable) -> AuditFacts:
    """Frame 0x14 is of these classes."""
    classes = bytearray(CLASSES)
    classes[0x14] = value
    return replace(tables(*more), classes=bytes(classes))


@pytest.mark.parametrize(
    ("value", "table", "fires", "checked"),
    [
        (0, UserTable(0x1_4000, 1, 0x8000), True, 3),
        (0, UserTable(0x1_4000, 2, 0x8000), True, 3),
        (0, UserTable(0x1_4000, 3, 0x8000), False, 2),
        (FrameClass.TABLE, UserTable(0x1_4000, 1, 0x8000), False, 3),
        (FrameClass.NO_PAGE, UserTable(0x1_4000, 1, 0x8000), False, 3),
        (FrameClass.SLAB, UserTable(0x1_4000, 1, 0x8000), True, 3),
        # struct page of frames behind the last one is not known.
        (0, UserTable(511 << 12, 1, 0x8000), True, 3),
        (0, UserTable(512 << 12, 1, 0x8000), False, 2),
    ],
)
def test_tables_that_are_not_marked(
    value: int, table: UserTable, fires: bool, checked: int
) -> None:
    facts = marked(value, table)
    assert places("table-unmarked", facts) == ["pid 1 (init), 8000"] * fires
    assert ask("table-unmarked", facts).checked == checked


def test_which_table_is_not_marked() -> None:
    (found,) = ask("table-unmarked", marked(0, UserTable(0x1_4000, 1, 0x8000))).findings
    assert found.evidence == (("table", "0x14000"), ("level", "1"))


GIB = 1 << 30
KASAN = FOUR.kasan_start or 0


def shared(level: int, *vmas: VmaBounds) -> AuditFacts:
    """A process with a table at 0 and at 1 GiB."""
    return space_with(
        vmas=VmaTable.of(*vmas),
        tables=(UserTable(0x1_1000, level, 0), UserTable(0x1_1000, level, GIB)),
    )


def huge(start: int, flags: int = HUGETLB) -> VmaBounds:
    return VmaBounds(start, start + PAGE, flags)


@pytest.mark.parametrize(
    ("facts", "fires"),
    [
        (shared(2, huge(0), huge(GIB)), False),
        (shared(1, huge(0), huge(GIB)), True),
        (shared(3, huge(0), huge(GIB)), True),
        (shared(2, huge(0, 3), huge(GIB, 3)), True),
        (shared(2), True),
        # A VMA may begin and end anywhere in what the table maps,
        (shared(2, huge(PAGE), huge(GIB + PAGE)), False),
        (shared(2, huge(GIB - PAGE), huge(2 * GIB - PAGE)), False),
        (shared(2, huge(PAGE, 3), huge(2 * PAGE), huge(GIB)), False),
        # and one elsewhere is no reason.
        (shared(2, huge(0), huge(2 * GIB)), True),
        (shared(2, huge(0, 3), huge(GIB, 3), huge(2 * GIB)), True),
        (shared(2, huge(0), huge(GIB - PAGE)), True),
        (shared(2, huge(0), huge(GIB, 3)), True),
    ],
)
def test_tables_that_hugetlbfs_shares(facts: AuditFacts, fires: bool) -> None:
    assert places("table-used-twice", facts) == [f"pid 1 (init), {GIB:x}"] * fires


@pytest.mark.parametrize(
    ("first", "second", "fires"),
    [
        (FOUR.espfix, FOUR.espfix + GIB, False),
        (KASAN, KASAN + GIB, False),
        (FOUR.espfix, VMALLOC, True),
        (VMALLOC, FOUR.espfix, True),
        (VMALLOC, VMALLOC + GIB, True),
    ],
)
def test_tables_that_the_kernel_shares(first: int, second: int, fires: bool) -> None:
    some = (UserTable(0x3000, 2, first), UserTable(0x3000, 2, second))
    facts = users_with(kernel_tables=some)
    assert places("table-used-twice", facts) == [f"init_mm, {second:x}"] * fires
    assert ask("table-used-twice", facts).checked == 4


def test_the_first_uses_are_shown() -> None:
    some = tuple(UserTable(0x3000, 2, VMALLOC + n * GIB) for n in range(10))
    (found,) = ask("table-used-twice", users_with(kernel_tables=some)).findings
    assert where_words(found.where) == f"init_mm, {some[9].address:x}"
    assert found.evidence == (
        ("table", "0x3000"),
        *(("used at", f"init_mm, {one.address:x}") for one in some[:8]),
    )


def test_the_evidence_of_a_frame_without_a_place() -> None:
    types = (("a", X86MemoryType.UC), ("b", X86MemoryType.WB))
    (found,) = ask("memory-type-conflict", suspect(types=types, places=())).findings
    assert found.evidence == (("types", "UC, WB"), ("a", "UC"), ("b", "WB"))


def test_the_evidence_of_a_free_object() -> None:
    free = replace(WHOLE, state=SlabState.FREE)
    (found,) = ask("object-is-free", suspect(classes=SLAB, counted=0, slab=free)).findings
    assert dict(found.evidence)["first object"].endswith(", free")
