# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of audit at their edges: the first and the last page, what is counted, what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.auditfacts import (
    AREA,
    IMAGE_END,
    IMAGE_PADDR,
    PAGE,
    PHYSMAP,
    RAM,
    RODATA,
    RW,
    RWX,
    RX,
    SOUND,
    TEXT,
    VMALLOC,
    VMEMMAP,
    R,
    kernel_with,
    leaf,
    physmap,
)
from unit.judge.test_audit_rules import (
    BY_ID,
    UC,
    WC,
    areas,
    ask,
    at,
    holes,
    section,
)
from unit.layouts import FOUR

from pageproof.arch.x86_64 import X86_64
from pageproof.arch.x86_64.rows import memory_map
from pageproof.model import Outcome, Permissions, Range
from pageproof.model.auditfacts import (
    Area,
    AuditFacts,
    Section,
    Span,
)
from pageproof.render.where import where_words
from pageproof.space.physmap import not_of_type, unmapped
from pageproof.space.rows import mapped_in, named_rows
from pageproof.space.spans import cut, joined, pages_of, within, without
from pageproof.space.vmalloc import VMALLOC_ROWS, mismatches, odd_spans

CLOSED = Permissions(write=True, execute=True, user=True, access=False)
PHYSMAP_END = PHYSMAP + (64 << 40)
VMALLOC_END = VMALLOC + (32 << 40)
MODULES_END = FOUR.modules_end


def places(rule: str, facts: AuditFacts) -> list[str]:
    judged = ask(rule, facts)
    assert not judged.undecided
    return [where_words(one.where) for one in judged.findings]


def closed(start: int, frame: int, pages: int = 1) -> Range:
    """PROT_NONE: it names a frame and nothing may touch it."""
    return replace(leaf(start, frame, pages, CLOSED), outcome=Outcome.PROT_NONE)


# What is counted

COUNTED = {
    "kernel-half-differs": 2,
    "pti-pair-differs": 0,
    "pti-exposes-kernel": 0,
    "pti-kernel-part": 0,
    "kernel-write-execute": 512 + 2 + 512 + 16 + 4 + 1,
    "rodata-writable": 16 + 4,
    "kernel-open-to-user": 512 + 2 + 512 + 16 + 4,  # but the vsyscall page
    "text-alias-writable": 16 + 4,
    "physmap-missing": 512,
    "physmap-wrong-frame": 512,
    "physmap-type": 512,
    "vmemmap-broken": 1,
    "vmalloc-unowned": 2,
    "vmalloc-wrong-page": 1,
    "user-outside-vma": 1,
    "user-rights-beyond-vma": 2,
    "frame-is-free": 3,
    "user-maps-slab": 3,
    "shares-slab-page": 3,
    "object-is-free": 3,
    "user-maps-table": 3,
    "user-maps-stack": 3,
    "frame-is-others": 3,
    "mapcount-wrong": 3,
    "memory-type-conflict": 3,
    "table-unmarked": 2,  # of levels 1 and 2
    "table-used-twice": 3,
}


def test_what_a_rule_counts() -> None:
    assert {rule: ask(rule, SOUND).checked for rule in BY_ID} == COUNTED


# Parts of ranges and spans


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 0x1000, []),
        (0, 0x1001, [(0x1000, 0x1000, 0x10000)]),
        (0x1000, 0x3000, [(0x1000, 0x2FFF, 0x10000)]),
        (0x2000, 0x6000, [(0x2000, 0x2FFF, 0x11000), (0x5000, 0x5FFF, 0x50000)]),
        (0x2FFF, 0x5000, [(0x2FFF, 0x2FFF, 0x11FFF)]),
        (0x3000, 0x5000, []),
        (0x6FFF, 0x9000, [(0x6FFF, 0x6FFF, 0x51FFF)]),
        (0x7000, 0x9000, []),
    ],
)
def test_the_parts_of_ranges(start: int, end: int, expected: list[tuple[int, int, int]]) -> None:
    ranges = (leaf(0x1000, 0x10000, 2), leaf(0x5000, 0x50000, 2))
    found = [(one.start, one.last, one.frame) for one in within(ranges, start, end)]
    assert found == expected


def test_a_part_is_like_the_whole() -> None:
    whole = replace(leaf(0x1000, 0x10000, 2, RX, UC), shared_with=7, detail="why", level=2)
    assert cut(whole, 0x2000, 0x2FFF) == replace(whole, start=0x2000, last=0x2FFF, frame=0x11000)
    swap = Range(0x1000, 0x2FFF, 1, Outcome.SWAP, None, None)
    assert cut(swap, 0x2000, 0x2FFF) == replace(swap, start=0x2000)
    assert (pages_of(whole), pages_of(cut(whole, 0x2000, 0x2FFF))) == (2, 1)


def test_spans_that_adjoin_are_one() -> None:
    spans = [Span(1, 2), Span(2, 4), Span(5, 6), Span(6, 9)]
    assert list(joined(spans)) == [Span(1, 4), Span(5, 9)]
    assert list(joined([])) == []


@pytest.mark.parametrize(
    ("others", "left"),
    [
        ([], [(10, 20)]),
        ([(0, 10), (20, 30)], [(10, 20)]),
        ([(0, 11)], [(11, 20)]),
        ([(19, 30)], [(10, 19)]),
        ([(0, 30)], []),
        ([(10, 20)], []),
        ([(12, 14), (16, 18)], [(10, 12), (14, 16), (18, 20)]),
        ([(0, 12), (12, 14)], [(14, 20)]),
    ],
)
def test_what_is_left_of_a_span(others: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    found = without(Span(10, 20), [Span(*other) for other in others])
    assert [(one.start, one.end) for one in found] == left


# The kernel's own mappings


@pytest.mark.parametrize(
    ("rule", "facts", "expected"),
    [
        # Nothing gets through to what is PROT_NONE.
        ("kernel-write-execute", kernel_with(closed(AREA, 0x5000)), []),
        ("kernel-open-to-user", kernel_with(closed(AREA, 0x5000)), []),
        ("text-alias-writable", kernel_with(closed(AREA, 0x5000)), []),
        ("physmap-wrong-frame", kernel_with(closed(PHYSMAP, 0x1000, 256)), []),
        ("physmap-wrong-frame", kernel_with(leaf(PHYSMAP_END, 0x1000)), []),
        (
            "text-alias-writable",
            kernel_with(replace(closed(AREA, 0x5000), permissions=replace(CLOSED, write=False))),
            [],
        ),
        # What is writable where it is executed is another rule's.
        ("text-alias-writable", kernel_with(leaf(AREA, 0x5000, 1, RWX)), []),
        ("rodata-writable", kernel_with(leaf(RODATA + 4 * PAGE, 0x7000, 1, RW)), []),
        ("rodata-writable", kernel_with(leaf(TEXT - PAGE, 0x7000, 1, RW)), []),
        (
            "rodata-writable",
            kernel_with(leaf(RODATA, 0x7000, 3, R), leaf(RODATA + 3 * PAGE, 0x8000, 2, RW)),
            [at(RODATA + 3 * PAGE)],
        ),
        # A frame that the direct map has no room for has no alias there.
        (
            "text-alias-writable",
            kernel_with(leaf(MODULES_END - PAGE, AREA - PHYSMAP, 1, RX)),
            [],
        ),
        (
            "kernel-write-execute",
            kernel_with(leaf(AREA, 0x5000, 1, RWX), leaf(AREA + PAGE, 0x9000, 1, RWX)),
            [at(AREA, 2)],
        ),
    ],
)
def test_the_kernels_mappings(rule: str, facts: AuditFacts, expected: list[str]) -> None:
    assert places(rule, facts) == expected


def test_an_alias_of_two_mappings_is_counted_once() -> None:
    facts = kernel_with(leaf(AREA, IMAGE_PADDR, 16, RX))
    assert (places("text-alias-writable", facts), ask("text-alias-writable", facts).checked) == (
        [],
        20,
    )


def test_rodata_off_was_not_looked_at() -> None:
    assert SOUND.image is not None
    facts = replace(SOUND, image=replace(SOUND.image, read_only=False))
    assert [ask(rule, facts).checked for rule in ("rodata-writable", "text-alias-writable")] == [
        0,
        0,
    ]


# The direct map and struct page


@pytest.mark.parametrize(
    ("rule", "facts", "expected"),
    [
        (
            "physmap-missing",
            kernel_with(physmap(IMAGE_END, RAM.end - PAGE)),
            [at(PHYSMAP + RAM.end - PAGE)],
        ),
        ("physmap-missing", kernel_with(physmap(IMAGE_END, RAM.end + PAGE)), []),
        (
            "physmap-missing",
            replace(
                holes(0x18_0000, 0x18_1000), ram=(Span(0, 0x18_0000), Span(0x18_1000, RAM.end))
            ),
            [],
        ),
        ("physmap-missing", kernel_with(closed(PHYSMAP, 0, 256)), [at(PHYSMAP, 256)]),
        (
            "physmap-missing",
            replace(holes(0x18_0000, 0x18_3000), unmapped={0x181: "memfd_secret"}),
            [at(PHYSMAP + 0x18_0000), at(PHYSMAP + 0x18_2000)],
        ),
        (
            "physmap-type",
            replace(
                kernel_with(leaf(PHYSMAP, 0, 256, RW, WC)), memtypes=dict.fromkeys(range(256), WC)
            ),
            [],
        ),
        (
            "physmap-type",
            replace(
                kernel_with(leaf(PHYSMAP, 0, 256, RW, WC)), memtypes=dict.fromkeys(range(255), WC)
            ),
            [at(PHYSMAP + 255 * PAGE)],
        ),
        (
            "physmap-type",
            replace(kernel_with(leaf(PHYSMAP, 0, 256, RW, UC)), ram=(Span(0x1000, 0x3000),)),
            [at(PHYSMAP + 0x1000, 2)],
        ),
        (
            "physmap-type",
            kernel_with(physmap(0, 0x2000), leaf(PHYSMAP + 0x2000, 0x2000, 254, RW, UC)),
            [at(PHYSMAP + 0x2000, 254)],
        ),
        ("physmap-type", kernel_with(replace(closed(PHYSMAP, 0, 256), memory_type=UC)), []),
        ("physmap-type", kernel_with(replace(leaf(PHYSMAP, 0, 256), memory_type=None)), []),
        (
            "physmap-wrong-frame",
            kernel_with(leaf(PHYSMAP_END - PAGE, 0x5000), leaf(PHYSMAP_END, 0x5000)),
            [at(PHYSMAP_END - PAGE)],
        ),
        ("vmemmap-broken", section(zones=((5, 5, 512), (511, 0, 512))), []),
        ("vmemmap-broken", section(zones=((4, 5, 512),)), ["section 0, PFN 0x0"]),
        ("vmemmap-broken", section(zones=((4, 5, 6), (6, 5, 6))), ["section 0, PFN 0x0"] * 2),
        ("vmemmap-broken", kernel_with(leaf(VMEMMAP, 0x8_0000, 513)), []),
        (
            "vmemmap-broken",
            kernel_with(leaf(VMEMMAP, 0x8_0000, 256), leaf(VMEMMAP + 256 * PAGE, 0x8_0000, 255)),
            ["section 0, PFN 0x0"],
        ),
        # One word for the section, however many ranges are wrong.
        (
            "vmemmap-broken",
            kernel_with(leaf(VMEMMAP, 0, 256, RW, UC), leaf(VMEMMAP + 256 * PAGE, 0, 256, RW, WC)),
            ["section 0, PFN 0x0"],
        ),
    ],
)
def test_the_direct_map_and_struct_page(rule: str, facts: AuditFacts, expected: list[str]) -> None:
    assert places(rule, facts) == expected


def test_each_section_is_judged() -> None:
    """The second one's struct pages lie behind the first one's."""
    first = Section(0, 0, 32768, True, VMEMMAP + 64)
    second = Section(1, 32768, 32768, True, VMEMMAP)
    some = (first, second, replace(second, number=2, first_pfn=65536))
    mapped = kernel_with(leaf(VMEMMAP + 512 * PAGE, 0, 512, RW, UC))
    judged = ask("vmemmap-broken", replace(mapped, sections=some))
    assert [
        (where_words(one.where), one.sentence.rpartition(": ")[2]) for one in judged.findings
    ] == [
        ("section 0, PFN 0x0", f"the section's pointer is that of a vmemmap at {VMEMMAP + 64:#x}"),
        ("section 1, PFN 0x8000", "struct page is not write-back"),
        (
            "section 2, PFN 0x10000",
            f"struct page at {at(VMEMMAP + 1024 * PAGE, 512)} is not mapped",
        ),
    ]
    assert judged.checked == 3


def test_a_zone_that_is_not_the_frames() -> None:
    (found,) = ask("vmemmap-broken", section(zones=((512, 0, 512),))).findings
    assert found.sentence.endswith(": the flags of PFN 0x200 name a zone from 0x0 to 0x200")


def test_ram_is_counted_in_pages() -> None:
    facts = replace(SOUND, ram=(Span(0x1000, 0x2000), Span(0x5000, 0x7000)))
    assert [ask(rule, facts).checked for rule in ("physmap-missing", "physmap-type")] == [3, 3]


def odd(facts: AuditFacts) -> list[Span]:
    mapped = mapped_in(named_rows(memory_map(FOUR), *VMALLOC_ROWS), facts.kernel or ())
    return odd_spans(mapped, facts.areas or (), facts.moving)


def test_what_is_asked_of_the_direct_map() -> None:
    """The collector asks for the reasons of just these frames."""
    facts = kernel_with(leaf(PHYSMAP, 0, 2, RW, UC), physmap(0x2000, IMAGE_PADDR))
    assert facts.kernel and facts.ram
    assert list(not_of_type(X86_64.write_back, facts.kernel, PHYSMAP, facts.ram)) == [
        (0, UC),
        (1, UC),
    ]
    facts = holes(0x18_0000, 0x18_2000)
    assert facts.kernel and facts.ram
    there = mapped_in(named_rows(memory_map(FOUR), "physmap"), facts.kernel)
    assert list(unmapped(there, PHYSMAP, facts.ram)) == [Span(0x18_0000, 0x18_2000)]


@pytest.mark.parametrize(
    ("rule", "facts", "evidence"),
    [
        ("physmap-missing", holes(0x18_0000, 0x18_3000), (("pages", "3"),)),
        (
            "physmap-wrong-frame",
            kernel_with(leaf(PHYSMAP, 0x1000, 256)),
            (("PFN", "0x1"), ("pages", "256")),
        ),
        ("physmap-type", kernel_with(leaf(PHYSMAP, 0, 256, RW, UC)), (("pages", "256"),)),
    ],
)
def test_how_much_of_the_direct_map(
    rule: str, facts: AuditFacts, evidence: tuple[tuple[str, str], ...]
) -> None:
    (found,) = ask(rule, facts).findings
    assert found.evidence == evidence


# vmalloc


@pytest.mark.parametrize(
    ("rule", "facts", "expected"),
    [
        (
            "vmalloc-unowned",
            kernel_with(leaf(VMALLOC_END - PAGE, 0x7000)),
            [at(VMALLOC_END - PAGE)],
        ),
        ("vmalloc-unowned", kernel_with(leaf(VMALLOC_END, 0x7000)), []),
        (
            "vmalloc-unowned",
            kernel_with(leaf(MODULES_END - PAGE, 0x7000)),
            [at(MODULES_END - PAGE)],
        ),
        ("vmalloc-unowned", kernel_with(leaf(MODULES_END, 0x7000)), []),
        ("vmalloc-unowned", kernel_with(closed(VMALLOC, 0x7000)), []),
        (
            "vmalloc-unowned",
            areas(Area(AREA, AREA + PAGE, True), Area(AREA + PAGE, AREA + 2 * PAGE, True)),
            [],
        ),
        ("vmalloc-wrong-page", kernel_with(leaf(AREA, 0x5000, 2)), [at(AREA + PAGE)]),
        (
            "vmalloc-wrong-page",
            kernel_with(leaf(AREA, 0x6000), leaf(AREA + PAGE, 0x7000)),
            [f"{AREA:016x}-{AREA + 2 * PAGE - 1:016x}"],
        ),
        ("vmalloc-wrong-page", areas(Area(AREA, AREA + PAGE, True, 2, (5,))), []),
    ],
)
def test_vmalloc(rule: str, facts: AuditFacts, expected: list[str]) -> None:
    assert places(rule, facts) == expected


def test_each_range_behind_an_areas_pages() -> None:
    area = Area(AREA, AREA + 4 * PAGE, True, 2, (5,), "x")
    facts = replace(
        kernel_with(leaf(AREA + PAGE, 0x9000), leaf(AREA + 2 * PAGE, 0xB000)), areas=(area,)
    )
    found = ask("vmalloc-wrong-page", facts).findings
    assert [where_words(one.where) for one in found] == [
        f"{AREA + PAGE:016x}-{AREA + 3 * PAGE - 1:016x}"
    ]
    assert all(one.sentence.endswith(": beyond its 1 pages") for one in found)
    (one,) = ask("vmalloc-wrong-page", kernel_with(leaf(AREA + PAGE, 0x9000, 2))).findings
    assert one.sentence.endswith(": beyond its 2 pages")
    (two,) = mismatches([leaf(AREA, 0x5000, 3)], [replace(area, frames=(5, 6))], ())
    assert (two.span, two.mapped, two.listed) == (Span(AREA + 2 * PAGE, AREA + 3 * PAGE), 7, None)


def test_both_frames_of_a_wrong_page() -> None:
    (one,) = ask("vmalloc-wrong-page", kernel_with(leaf(AREA, 0x5000, 2))).findings
    assert one.evidence == (("mapped", "0x6"), ("owned", "0x9"), ("caller", "load_module"))
    assert one.sentence.endswith(": another frame than in its list")


def test_the_first_wrong_page_of_a_range() -> None:
    area = Area(AREA, AREA + 5 * PAGE, True, 2, (5, 6, 9, 10), "x")
    facts = replace(kernel_with(leaf(AREA, 0x5000, 4)), areas=(area,))
    facts = replace(facts, kernel=tuple(k for k in facts.kernel or () if k.start != AREA + PAGE))
    (one,) = ask("vmalloc-wrong-page", facts).findings
    assert where_words(one.where) == at(AREA + 2 * PAGE)
    assert one.evidence == (("mapped", "0x7"), ("owned", "0x9"), ("caller", "x"))


def area_and_leaf(area: Area, mapped: Range) -> AuditFacts:
    """These alone in vmalloc space."""
    facts = kernel_with(mapped)
    kernel = [
        one for one in facts.kernel or () if one == mapped or not AREA <= one.start < VMALLOC_END
    ]
    return replace(facts, areas=(area,), kernel=tuple(kernel))


def test_what_moves_in_vmalloc_space_is_not_judged() -> None:
    """Nor is what is beside it let off."""
    area = Area(AREA, AREA + 2 * PAGE, True, 2, (5, 6), "x")
    facts = area_and_leaf(area, leaf(AREA, 0x8000, 4))
    wrong, beyond = [at(AREA)], [f"{AREA + 2 * PAGE:016x}-{AREA + 4 * PAGE - 1:016x}"]
    assert (places("vmalloc-wrong-page", facts), places("vmalloc-unowned", facts)) == (
        wrong,
        beyond,
    )
    assert odd(facts) == [
        Span(AREA, AREA + PAGE),
        Span(AREA + 2 * PAGE, AREA + 4 * PAGE),
    ]
    some = replace(facts, moving=(Span(AREA + 2 * PAGE, AREA + 3 * PAGE),))
    assert places("vmalloc-wrong-page", some) == wrong
    assert places("vmalloc-unowned", some) == [at(AREA + 3 * PAGE)]
    assert odd(some) == [Span(AREA, AREA + PAGE), Span(AREA + 3 * PAGE, AREA + 4 * PAGE)]
    more = replace(facts, moving=(Span(AREA, AREA + PAGE),))
    assert (places("vmalloc-wrong-page", more), places("vmalloc-unowned", more)) == ([], beyond)
    assert odd(replace(facts, moving=(Span(AREA, AREA + 4 * PAGE),))) == []


def test_areas_in_two_lists_are_odd_once() -> None:
    """As a list that changes while it is read may have them."""
    area = Area(AREA, AREA + PAGE, True, 2, (5,), "x")
    facts = replace(area_and_leaf(area, leaf(AREA, 0x8000)), areas=(area, area))
    assert odd(facts) == [Span(AREA, AREA + PAGE)]
