# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand-made facts of a small sound system, for the rules of audit."""

from __future__ import annotations

import re
from dataclasses import replace

from unit.facts import CORE, PAGING
from unit.layouts import FOUR

from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.model import MemoryType, Outcome, Permissions, Range
from pageproof.model.auditfacts import (
    Area,
    AuditFacts,
    FrameClass,
    FramePlaces,
    ImageFacts,
    Section,
    Span,
    TopTable,
    TopTables,
    UserFacts,
    UserSpace,
    UserTable,
    VmaBounds,
    VmaTable,
)
from pageproof.model.where import Space

PAGE = 4096
PHYSMAP, VMALLOC, VMEMMAP = FOUR.page_offset_base, FOUR.vmalloc_base, FOUR.vmemmap_base
TEXT, RODATA = FOUR.image_start, FOUR.image_start + 16 * PAGE
#: Where the image is in physical memory, all RAM before it and after.
IMAGE_PADDR = 0x10_0000
RAM = Span(0, 0x20_0000)
AREA = VMALLOC + 0x1_0000
HEAP = 0x40_0000
#: The entry of the topmost table that the text is under.
TEXT_ENTRY, LDT_ENTRY = 511, FOUR.ldt >> 39 & 511

R = Permissions(write=False, execute=False, user=False)
RW = Permissions(write=True, execute=False, user=False)
RX = Permissions(write=False, execute=True, user=False)
RWX = Permissions(write=True, execute=True, user=False)
USER = Permissions(write=True, execute=False, user=True)


def leaf(
    start: int,
    frame: int,
    pages: int = 1,
    may: Permissions = RW,
    kind: MemoryType = X86MemoryType.WB,
) -> Range:
    """Pages in a row."""
    last = start + pages * PAGE - 1
    return Range(start, last, 1, Outcome.MAPPED, frame, may, memory_type=kind)


def physmap(start: int, end: int, may: Permissions = RW) -> Range:
    """The direct map of some physical memory."""
    return leaf(PHYSMAP + start, start, (end - start) // PAGE, may)


IMAGE_END = IMAGE_PADDR + 20 * PAGE
#: init_mm's upper half: direct map, an area, struct pages, text and read-only data, vsyscall.
KERNEL = (
    physmap(0, IMAGE_PADDR),
    physmap(IMAGE_PADDR, IMAGE_END, R),
    physmap(IMAGE_END, RAM.end),
    leaf(AREA, 0x5000),
    leaf(AREA + PAGE, 0x9000),
    leaf(VMEMMAP, 0x8_0000, 512),
    leaf(TEXT, IMAGE_PADDR, 16, RX),
    leaf(RODATA, IMAGE_PADDR + 16 * PAGE, 4, R),
    leaf(0xFFFF_FFFF_FF60_0000, IMAGE_PADDR + 17 * PAGE, 1, replace(R, user=True)),
)


def space(name: str) -> Space:
    """An address space by its name, "pid 1 (init)"; any other name is one of the kernel's own."""
    found = re.fullmatch(r"pid (\d+) \((.*)\)", name)
    return Space(int(found[1]), found[2]) if found else Space(None, tables=name)


def table(name: str, changes: dict[int, int] | None = None) -> TopTable:
    """A topmost table: the same upper half for all."""
    entries = [0] * 256 + [0x2000 + index for index in range(256)]
    for index, entry in (changes or {}).items():
        entries[index] = entry
    return top_table(name, tuple(entries))


def top_table(name: str, entries: tuple[int, ...], gap: str = "") -> TopTable:
    """A topmost table by the name of its address space, "pid 1 (init), user half"."""
    whole = name.removesuffix(", user half")
    return TopTable(space(whole), 0x1000, entries, gap, whole != name)


TOPS = TopTables(
    kernel=table("init_mm"),
    kernel_user=None,
    spaces=(table("pid 1 (init)", {0: 0x77}), table("pid 2 (sh)", {TEXT_ENTRY: 0x2000 + 255})),
    user_halves=(),
)
SPACE = UserSpace(
    name=space("pid 1 (init)"),
    vmas=VmaTable.of(
        VmaBounds(HEAP, HEAP + 4 * PAGE, 3), VmaBounds(HEAP + 8 * PAGE, HEAP + 9 * PAGE, 5)
    ),
    runs=(
        leaf(HEAP, 0x7000, 2, USER),
        leaf(HEAP + 8 * PAGE, 0x6000, 1, Permissions(write=False, execute=True, user=True)),
    ),
    tables=(
        UserTable(0x1_0000, 3, 0),
        UserTable(0x1_1000, 2, 0),
        UserTable(0x1_2000, 1, HEAP),
    ),
)
USERS = UserFacts(spaces=(SPACE,), frames=3, suspects=(), more_suspects=0)
#: Frames of the tables are marked.
CLASSES = bytes(4 if pfn in (0x11, 0x12) else 0 for pfn in range(512))

SOUND = AuditFacts(
    target=CORE,
    paging=PAGING,
    layout=FOUR,
    tops=TOPS,
    kernel=KERNEL,
    user_half=(),
    image=ImageFacts(
        text=Span(TEXT, RODATA),
        rodata=Span(RODATA, RODATA + 4 * PAGE),
        shared=Span(TEXT, TEXT + 0x20_0000),
        tss_pages=(PHYSMAP + 0x3000,),
        read_only=True,
    ),
    ram=(RAM,),
    areas=(Area(AREA, AREA + 3 * PAGE, True, 2, (5, 9), "load_module"),),
    sections=(Section(0, 0, 32768, True, VMEMMAP, ((0, 0, 512),)),),
    classes=CLASSES,
    users=USERS,
)


def kernel_with(*changed: Range) -> AuditFacts:
    """The sound system, but for these ranges of init_mm, which may lie in others' place."""
    starts = {one.start for one in changed}
    kept = [one for one in KERNEL if one.start not in starts]
    return replace(SOUND, kernel=tuple(sorted((*kept, *changed), key=lambda one: one.start)))


def space_with(**changes: object) -> AuditFacts:
    """The sound system with another process."""
    return users_with(spaces=(replace(SPACE, **changes),))  # type: ignore[arg-type]


def users_with(**changes: object) -> AuditFacts:
    return replace(SOUND, users=replace(USERS, **changes))  # type: ignore[arg-type]


def suspect(**changes: object) -> AuditFacts:
    """One frame that looks odd."""
    one = FramePlaces(
        pfn=7, classes=FrameClass(0), places=((space("pid 1 (init)"), HEAP),), counted=1, mapcount=1
    )
    return users_with(suspects=(replace(one, **changes),))  # type: ignore[arg-type]


PTI_TOPS = TopTables(
    kernel=table("init_mm"),
    kernel_user=table("init_mm, user half", {TEXT_ENTRY: 0x99, LDT_ENTRY: 0}),
    spaces=(table("pid 1 (init)", {0: 0x77 | 1 << 63}),),
    user_halves=(table("pid 1 (init), user half", {0: 0x77, TEXT_ENTRY: 0x99, LDT_ENTRY: 0x55}),),
)
PTI = replace(
    SOUND,
    paging=replace(PAGING, pti=True),
    tops=PTI_TOPS,
    user_half=(
        leaf(PHYSMAP + 0x3000, 0x3000),
        leaf(FOUR.cpu_entry_area, 0x8000, 2),
        leaf(TEXT, IMAGE_PADDR, 16, RX),
    ),
)
