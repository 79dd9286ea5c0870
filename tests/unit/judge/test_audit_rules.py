# SPDX-License-Identifier: GPL-2.0-or-later
"""Each rule of audit on hand-made facts: silent on a sound system, and where it fires."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.auditfacts import (
    AREA,
    HEAP,
    IMAGE_END,
    IMAGE_PADDR,
    KERNEL,
    LDT_ENTRY,
    PAGE,
    PHYSMAP,
    PTI,
    PTI_TOPS,
    RAM,
    RODATA,
    RW,
    RWX,
    RX,
    SOUND,
    SPACE,
    TEXT,
    TOPS,
    USER,
    VMALLOC,
    VMEMMAP,
    kernel_with,
    leaf,
    physmap,
    space_with,
    suspect,
    table,
    users_with,
)
from unit.layouts import FOUR

from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.judge.audit import CHECKS
from pageproof.judge.audit.check import MOST_FINDINGS, Judged
from pageproof.judge.audit.engine import run_check
from pageproof.model import (
    AreaOwner,
    Outcome,
    OwnerKind,
    Permissions,
    Range,
    Severity,
    SlabFacts,
    SlabState,
)
from pageproof.model.auditfacts import (
    Area,
    AuditFacts,
    FrameClass,
    Span,
    UserTable,
    VmaBounds,
    VmaTable,
)
from pageproof.render.where import where_words

BY_ID = {check.rule.id: check for check in CHECKS}
EXECUTED = kernel_with(leaf(AREA, 0x5000, 1, RX))
HUGETLB = 1 << 22
OBJECT = SlabFacts("kmalloc-4k", PHYSMAP + 0x7000, 0, 4096, 4096, SlabState.ALLOCATED)
UC, WC, WB = X86MemoryType.UC, X86MemoryType.WC, X86MemoryType.WB


def ask(rule: str, facts: AuditFacts) -> Judged:
    return run_check(BY_ID[rule], facts).judged


def holes(start: int, end: int) -> AuditFacts:
    """RAM from start to end is not in the direct map."""
    return kernel_with(physmap(IMAGE_END, start), physmap(end, RAM.end))


def tops(**changes: object) -> AuditFacts:
    return replace(SOUND, tops=replace(TOPS, **changes))  # type: ignore[arg-type]


def areas(*some: Area) -> AuditFacts:
    return replace(SOUND, areas=some)


def section(**changes: object) -> AuditFacts:
    assert SOUND.sections
    return replace(SOUND, sections=(replace(SOUND.sections[0], **changes),))  # type: ignore[arg-type]


def pti_with(*ranges: Range) -> AuditFacts:
    assert PTI.user_half is not None
    return replace(PTI, user_half=(*PTI.user_half, *ranges))


def at(start: int, pages: int = 1) -> str:
    """Kernel addresses, as findings name them."""
    return f"{start:016x}-{start + pages * PAGE - 1:016x}"


def tables(*more: UserTable) -> AuditFacts:
    return space_with(tables=(*SPACE.tables, *more))


STACK = AreaOwner(OwnerKind.STACK, VMALLOC, VMALLOC + 0x5000, True, pid=12, comm="other")
STRANGERS = AreaOwner(
    OwnerKind.VMALLOC, VMALLOC, VMALLOC + 0x5000, True, "f+0x1", "theirs", related=False
)


#: For each rule: facts on which it fires, and the place that it names.
FIRES: list[tuple[str, AuditFacts, str]] = [
    (
        "kernel-half-differs",
        tops(spaces=(table("pid 9 (odd)", {300: 0x77}),)),
        "pid 9 (odd), entry 300",
    ),
    (
        "kernel-half-differs",
        replace(PTI, tops=replace(PTI_TOPS, user_halves=(table("pid 1 (init), user half"),))),
        f"pid 1 (init), user half, entry {511}",
    ),
    (
        "pti-pair-differs",
        replace(
            PTI,
            tops=replace(PTI_TOPS, user_halves=(table("pid 1 (init), user half", {0: 0x78}),)),
        ),
        "pid 1 (init), user half, entry 0",
    ),
    ("pti-exposes-kernel", pti_with(leaf(PHYSMAP + 0x8000, 0x8000)), at(PHYSMAP + 0x8000)),
    ("pti-exposes-kernel", pti_with(leaf(RODATA, IMAGE_PADDR, 1, RW)), at(RODATA)),
    ("pti-kernel-part", PTI, "init_mm, user half"),
    ("kernel-write-execute", kernel_with(leaf(AREA, 0x5000, 1, RWX)), at(AREA)),
    (
        "rodata-writable",
        kernel_with(leaf(RODATA, IMAGE_PADDR + 16 * PAGE, 4, RW)),
        at(RODATA, 4),
    ),
    ("rodata-writable", kernel_with(leaf(TEXT, IMAGE_PADDR, 16, RWX)), at(TEXT, 16)),
    ("kernel-open-to-user", kernel_with(leaf(AREA, 0x5000, 1, USER)), at(AREA)),
    ("kernel-open-to-user", pti_with(leaf(AREA, 0x5000, 1, USER)), at(AREA)),
    ("text-alias-writable", EXECUTED, at(PHYSMAP + 0x5000)),
    (
        "text-alias-writable",
        kernel_with(physmap(IMAGE_PADDR, IMAGE_END)),
        at(PHYSMAP + IMAGE_PADDR, 20),
    ),
    (
        "physmap-missing",
        holes(0x18_0000, 0x18_2000),
        at(PHYSMAP + 0x18_0000, 2),
    ),
    (
        "physmap-missing",
        replace(holes(0x18_0000, 0x18_2000), unmapped={0x180: "memfd_secret"}),
        at(PHYSMAP + 0x18_1000),
    ),
    (
        "physmap-wrong-frame",
        kernel_with(leaf(PHYSMAP, 0x1000, IMAGE_PADDR // PAGE)),
        at(PHYSMAP, 256),
    ),
    ("physmap-type", kernel_with(leaf(PHYSMAP, 0, 256, RW, UC)), at(PHYSMAP, 256)),
    (
        "physmap-type",
        replace(
            kernel_with(leaf(PHYSMAP, 0, 2, RW, UC), physmap(0x2000, IMAGE_PADDR)),
            memtypes={0: X86MemoryType.UC_MINUS, 1: WC},
        ),
        at(PHYSMAP + PAGE),
    ),
    ("vmemmap-broken", section(mem_map=VMEMMAP + 64), "section 0, PFN 0x0"),
    ("vmemmap-broken", kernel_with(leaf(VMEMMAP, 0x8_0000, 511)), "section 0, PFN 0x0"),
    ("vmemmap-broken", kernel_with(leaf(VMEMMAP, 0x8_0000, 512, RW, UC)), "section 0, PFN 0x0"),
    ("vmemmap-broken", section(zones=((512, 0, 512),)), "section 0, PFN 0x0"),
    ("vmalloc-unowned", kernel_with(leaf(VMALLOC, 0x7000)), at(VMALLOC)),
    ("vmalloc-unowned", areas(Area(AREA, AREA + PAGE, False)), at(AREA + PAGE)),
    ("vmalloc-wrong-page", kernel_with(leaf(AREA + PAGE, 0xA000)), at(AREA + PAGE)),
    ("vmalloc-wrong-page", kernel_with(leaf(AREA + 2 * PAGE, 0xA000)), at(AREA + 2 * PAGE)),
    (
        "vmalloc-wrong-page",
        kernel_with(leaf(AREA + PAGE, 0x9000, 2)),
        at(AREA + 2 * PAGE),
    ),
    (
        "user-outside-vma",
        space_with(runs=(leaf(HEAP, 0x7000, 5, USER),)),
        f"pid 1 (init), {HEAP + 4 * PAGE:x}-{HEAP + 5 * PAGE - 1:x}",
    ),
    (
        "user-outside-vma",
        space_with(runs=(Range(HEAP - PAGE, HEAP - 1, 1, Outcome.SWAP, None, None),)),
        f"pid 1 (init), {HEAP - PAGE:x}-{HEAP - 1:x}",
    ),
    (
        "user-rights-beyond-vma",
        space_with(runs=(leaf(HEAP + 8 * PAGE, 0x6000, 1, USER),)),
        f"pid 1 (init), {HEAP + 8 * PAGE:x}-{HEAP + 9 * PAGE - 1:x}",
    ),
    (
        "user-rights-beyond-vma",
        space_with(runs=(leaf(HEAP, 0x6000, 1, Permissions(False, True, True)),)),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    (
        "user-rights-beyond-vma",
        space_with(
            vmas=VmaTable.of(VmaBounds(HEAP, HEAP + PAGE, 0)),
            runs=(leaf(HEAP, 0x6000, 1, Permissions(False, False, True)),),
        ),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    (
        "frame-is-free",
        suspect(classes=FrameClass.FREE),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    (
        "user-maps-slab",
        suspect(classes=FrameClass.SLAB),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    (
        "shares-slab-page",
        suspect(classes=FrameClass.SLAB, counted=0),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    (
        "shares-slab-page",
        suspect(classes=FrameClass.SLAB, counted=0, slab=replace(OBJECT, object_bytes=2048)),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    (
        "object-is-free",
        suspect(classes=FrameClass.SLAB, counted=0, slab=replace(OBJECT, state=SlabState.FREE)),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    (
        "shares-slab-page",
        suspect(classes=FrameClass.SLAB, counted=0, slab=replace(OBJECT, offset_bytes=4096)),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    (
        "user-maps-table",
        suspect(classes=FrameClass.TABLE),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    ("user-maps-stack", suspect(area=STACK), f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}"),
    ("frame-is-others", suspect(area=STRANGERS), f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}"),
    (
        "frame-is-others",
        suspect(stranger="anonymous"),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    ("mapcount-wrong", suspect(counted=2), f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}"),
    (
        "memory-type-conflict",
        suspect(types=(("pid 1 (init)", WC), ("kernel", WB))),
        f"pid 1 (init), {HEAP:x}-{HEAP + PAGE - 1:x}",
    ),
    ("memory-type-conflict", suspect(types=(("a", UC), ("b", WB)), places=()), "PFN 0x7-0x7"),
    ("table-unmarked", tables(UserTable(0x1_4000, 1, 0x8000)), "pid 1 (init), 8000"),
    ("table-used-twice", tables(UserTable(0x1_2000, 1, 0x8000_0000)), "pid 1 (init), 80000000"),
    (
        "table-used-twice",
        users_with(kernel_tables=(UserTable(0x1_2000, 1, VMALLOC),)),
        f"pid 1 (init), {HEAP:x}",
    ),
]

#: Facts on which a rule stays silent, though they are out of the ordinary.
SILENT: list[tuple[str, AuditFacts]] = [
    *((check.rule.id, SOUND) for check in CHECKS),
    *((check.rule.id, PTI) for check in CHECKS if check.rule.id != "pti-kernel-part"),
    # The processor sets ACCESSED in each table alone.
    ("kernel-half-differs", tops(spaces=(table("pid 1 (init)", {300: 0x2000 + 44 | 0x20}),))),
    # Without PTI nobody has an LDT there; with it the slot is the process's own.
    (
        "kernel-half-differs",
        replace(PTI, tops=replace(PTI_TOPS, spaces=(table("pid 1 (init)", {LDT_ENTRY: 0x55}),))),
    ),
    ("physmap-missing", replace(holes(0x18_0000, 0x18_1000), unmapped={0x180: "memfd_secret"})),
    (
        "physmap-type",
        replace(
            kernel_with(leaf(PHYSMAP, 0, 1, RW, UC), physmap(PAGE, IMAGE_PADDR)),
            memtypes={0: X86MemoryType.UC_MINUS},
        ),
    ),
    (
        "physmap-type",
        replace(kernel_with(leaf(PHYSMAP, 0, 256, RW, UC)), ram=(Span(0x18_0000, RAM.end),)),
    ),
    # Not all subsections of what was plugged in later need be there.
    ("vmemmap-broken", replace(section(whole=False), kernel=KERNEL[:5])),
    (
        "vmalloc-wrong-page",
        areas(Area(AREA, AREA + 2 * PAGE, True, 1), Area(VMALLOC, AREA, True, 2, (1,))),
    ),
    # Copy-on-write and dirty tracking take rights away, PROT_NONE all of them.
    (
        "user-rights-beyond-vma",
        space_with(
            vmas=VmaTable.of(
                VmaBounds(HEAP, HEAP + PAGE, 3), VmaBounds(HEAP + PAGE, HEAP + 2 * PAGE, 0)
            ),
            runs=(
                leaf(HEAP, 0x6000, 1, Permissions(False, False, True)),
                leaf(HEAP + PAGE, 0x6000, 1, Permissions(True, False, True, access=False)),
            ),
        ),
    ),
    ("frame-is-free", suspect(classes=FrameClass.FREE, places=())),
    ("frame-is-free", suspect(classes=FrameClass.UNREFERENCED)),
    ("user-maps-stack", suspect(area=STACK, places=())),
    ("user-maps-stack", suspect(area=STRANGERS)),
    ("frame-is-others", suspect(area=STACK)),
    ("frame-is-others", suspect(area=STRANGERS, places=())),
    ("frame-is-others", suspect(area=replace(STRANGERS, related=True))),
    ("frame-is-others", suspect(area=replace(STRANGERS, related=None))),
    ("frame-is-others", suspect(area=replace(STRANGERS, owns=False))),
    ("frame-is-others", suspect(area=replace(STRANGERS, kind=OwnerKind.PER_CPU))),
    ("user-maps-slab", suspect(classes=FrameClass.SLAB, counted=0)),
    ("shares-slab-page", suspect(classes=FrameClass.SLAB)),
    ("shares-slab-page", suspect(classes=FrameClass.SLAB, counted=0, slab=OBJECT)),
    ("object-is-free", suspect(classes=FrameClass.SLAB, counted=0, slab=OBJECT)),
    (
        "object-is-free",
        suspect(classes=FrameClass.SLAB, slab=replace(OBJECT, state=SlabState.FREE)),
    ),
    ("mapcount-wrong", suspect(counted=2, mapcount=2)),
    ("mapcount-wrong", suspect(counted=2, mapcount=None)),
    ("mapcount-wrong", suspect(counted=2, classes=FrameClass.SLAB)),
    ("memory-type-conflict", suspect(types=(("a", UC), ("b", X86MemoryType.UC_MINUS)))),
    ("table-unmarked", tables(UserTable(0x1_4000, 3, 0))),
    (
        "table-used-twice",
        space_with(
            vmas=VmaTable.of(VmaBounds(HEAP, 0x8000_0000, 3 | HUGETLB)),
            tables=(UserTable(0x1_1000, 2, 0), UserTable(0x1_1000, 2, 0x4000_0000)),
        ),
    ),
    (
        "table-used-twice",
        users_with(
            kernel_tables=(
                UserTable(0x3000, 1, FOUR.espfix),
                UserTable(0x3000, 1, FOUR.espfix + 0x20_0000),
            )
        ),
    ),
]


def test_every_rule_fires_somewhere() -> None:
    assert {rule for rule, _, _ in FIRES} == set(BY_ID)


@pytest.mark.parametrize(
    ("rule", "facts", "where"), FIRES, ids=[f"{n}-{row[0]}" for n, row in enumerate(FIRES)]
)
def test_fires(rule: str, facts: AuditFacts, where: str) -> None:
    judged = ask(rule, facts)
    assert [(one.id, where_words(one.where)) for one in judged.findings] == [(rule, where)]
    assert not judged.undecided
    assert all("{" not in one.sentence for one in judged.findings)


@pytest.mark.parametrize(
    ("rule", "facts"), SILENT, ids=[f"{n}-{row[0]}" for n, row in enumerate(SILENT)]
)
def test_silent(rule: str, facts: AuditFacts) -> None:
    judged = ask(rule, facts)
    assert judged.findings == ()
    assert not judged.undecided


def test_only_one_rule_fires_on_one_bug() -> None:
    facts = kernel_with(leaf(AREA, 0x5000, 1, USER))
    fired = {check.rule.id for check in CHECKS if run_check(check, facts).judged.findings}
    assert fired == {"kernel-open-to-user"}


def test_rodata_off_is_no_pass() -> None:
    assert SOUND.image is not None
    facts = replace(SOUND, image=replace(SOUND.image, read_only=False))
    for rule in ("rodata-writable", "text-alias-writable"):
        assert "rodata=off" in ask(rule, facts).undecided


def test_what_could_not_be_read_is_told() -> None:
    lost = replace(table("pid 3 (gone)"), entries=(), gap="left out of the dump")
    assert "pid 3 (gone): left out" in ask("kernel-half-differs", tops(spaces=(lost,))).undecided
    faults = users_with(faults=("pid 4 (x): broken",))
    assert "pid 4" in ask("user-outside-vma", faults).undecided
    assert "tables" in ask("frame-is-free", space_with(gap="some tables")).undecided
    assert "7 more frames" in ask("frame-is-free", users_with(more_suspects=7)).undecided
    assert (
        ask(
            "user-outside-vma",
            space_with(runs=(Range(0, PAGE - 1, 1, Outcome.EXCLUDED, None, None),)),
        ).findings
        == ()
    )


def test_many_findings_are_counted() -> None:
    runs = tuple(leaf(0x1000_0000 + 2 * n * PAGE, 0x7000, 1, USER) for n in range(80))
    judged = ask("user-outside-vma", space_with(runs=runs))
    assert (len(judged.findings), judged.more) == (MOST_FINDINGS, 80 - MOST_FINDINGS)


def test_the_list_of_pti_is_a_note() -> None:
    (note,) = ask("pti-kernel-part", PTI).findings
    assert note.severity is Severity.NOTE
    assert "cpu-entry-area, cpu_tss_rw, text" in note.sentence
