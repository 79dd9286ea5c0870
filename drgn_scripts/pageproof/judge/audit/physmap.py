# SPDX-License-Identifier: GPL-2.0-or-later
"""The direct map and struct page: the address, memory type and struct page of all RAM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pageproof import arch
from pageproof.judge.audit.check import Check, Judged, addresses, bytes_shown, judged
from pageproof.model import Finding, Range, Severity
from pageproof.model.auditfacts import AuditFacts, Need, Span
from pageproof.model.rule import Rule
from pageproof.model.where import Where, WhereKind
from pageproof.space.physmap import not_of_type, unmapped
from pageproof.space.spans import is_mapped, joined, pages_of, span_of, within, without
from pageproof.space.units import PAGE_SHIFT

MISSING: Final = Rule(
    id="physmap-missing",
    severity=Severity.ERROR,
    sentence="RAM is not in the direct map, and no reason for that is known: the kernel faults "
    "when it touches these pages",
    cause="set_memory_np() or set_direct_map_invalid_noflush() was not undone before the pages "
    "were freed, or an entry was cleared by hand.",
    fix="Call set_direct_map_default_noflush() before the pages are freed.",
    reference="arch/x86/mm/pat/set_memory.c; mm/secretmem.c does it right",
)

WRONG_FRAME: Final = Rule(
    id="physmap-wrong-frame",
    severity=Severity.ERROR,
    sentence="an address of the direct map leads to the wrong frame: __va() and the page tables "
    "disagree",
    cause="The direct map is created once, at a fixed offset, and only its attributes change; "
    "something wrote to its tables.",
    fix="Find the code that did.",
    reference="arch/x86/mm/init_64.c: kernel_physical_mapping_init()",
)

TYPE: Final = Rule(
    id="physmap-type",
    severity=Severity.ERROR,
    sentence="RAM is not write-back in the direct map, and struct page does not record that this "
    "is intended: the next owner of the pages gets the wrong memory type",
    cause="The pages were freed without set_memory_wb(), or the attribute was set by hand. "
    "set_memory_uc() and set_memory_wc() record the type in struct page until set_memory_wb().",
    fix="Call set_memory_wb() or set_pages_array_wb() before the pages are freed.",
    reference="arch/x86/mm/pat/memtype.c: reserve_ram_pages_type()",
)

VMEMMAP: Final = Rule(
    id="vmemmap-broken",
    severity=Severity.ERROR,
    sentence="struct page and PFN do not match here: {why}",
    cause="page_to_pfn() and pfn_to_page() compute with vmemmap_base; the section's own pointer, "
    "the zone in the flags and the tables must agree with them.",
    fix="Find the code that wrote to mem_section, to struct page or to the tables.",
    reference="include/asm-generic/memory_model.h; mm/sparse.c",
)


def _physmap(facts: AuditFacts) -> tuple[list[Range], int]:
    """Return the ranges of the direct map, and its base."""
    assert facts.layout is not None
    assert facts.kernel is not None
    row = arch.of(facts.target.arch).row_of(facts.layout, "physmap")
    ranges = list(within(facts.kernel, row.start, row.last + 1))
    return ranges, facts.layout.page_offset_base


def _ram_pages(facts: AuditFacts) -> int:
    return sum(ram.end - ram.start for ram in facts.ram or ()) >> PAGE_SHIFT


def missing(facts: AuditFacts) -> Judged:
    """Find RAM that is missing without a known reason."""
    ranges, base = _physmap(facts)

    def spans() -> Iterator[Span]:
        for hole in unmapped(ranges, base, facts.ram or ()):
            for paddr in range(hole.start, hole.end, 1 << PAGE_SHIFT):
                if paddr >> PAGE_SHIFT not in facts.unmapped:
                    yield Span(base + paddr, base + paddr + (1 << PAGE_SHIFT))

    found = (MISSING.finding(addresses(span), bytes_shown(span)) for span in joined(spans()))
    return judged(_ram_pages(facts), found)


def wrong_frame(facts: AuditFacts) -> Judged:
    """Check the frame of every leaf of the direct map."""
    ranges, base = _physmap(facts)
    mapped = [one for one in ranges if one.frame is not None and is_mapped(one)]
    found = (
        WRONG_FRAME.finding(
            addresses(span_of(one)),
            (("PFN", f"0x{one.frame >> PAGE_SHIFT:x}"), *bytes_shown(span_of(one))),
        )
        for one in mapped
        if one.frame is not None and one.frame != one.start - base
    )
    return judged(sum(map(pages_of, mapped)), found)


def types(facts: AuditFacts) -> Judged:
    """Check that RAM in the direct map is write-back or has the type that struct page records."""
    _, base = _physmap(facts)
    architecture = arch.of(facts.target.arch)

    def spans() -> Iterator[Span]:
        for pfn, kind in not_of_type(
            architecture.write_back, facts.kernel or (), base, facts.ram or ()
        ):
            recorded = facts.memtypes.get(pfn)
            if recorded is None or len(architecture.effective_types((kind, recorded))) > 1:
                start = base + (pfn << PAGE_SHIFT)
                yield Span(start, start + (1 << PAGE_SHIFT))

    found = (TYPE.finding(addresses(span), bytes_shown(span)) for span in joined(spans()))
    return judged(_ram_pages(facts), found)


def vmemmap(facts: AuditFacts) -> Judged:
    """Check each section: its pointer, the mapping of its struct pages, the zone in their flags."""
    layout, kernel = facts.layout, facts.kernel
    assert layout is not None
    assert kernel is not None
    assert facts.sections is not None
    size = layout.struct_page_bytes
    write_back = arch.of(facts.target.arch).write_back

    def found() -> Iterator[Finding]:
        for section in facts.sections or ():
            where = Where(WhereKind.SECTION, section=section.number, frame=section.first_pfn)
            if section.mem_map != layout.vmemmap_base:
                why = f"the section's pointer is that of a vmemmap at {section.mem_map:#x}"
                yield VMEMMAP.finding(where, why=why)
                continue
            start = layout.vmemmap_base + section.first_pfn * size
            span = Span(start, start + section.pages * size)
            there = [one for one in within(kernel, span.start, span.end) if is_mapped(one)]
            for hole in without(span, [span_of(one) for one in there]):
                if section.whole:
                    why = f"struct page at {hole.start:016x}-{hole.end - 1:016x} is not mapped"
                    yield VMEMMAP.finding(where, why=why)
            for one in there:
                if one.memory_type != write_back:
                    yield VMEMMAP.finding(where, why="struct page is not write-back")
                    break
            for pfn, first, end in section.zones:
                if not first <= pfn < end:
                    why = f"the flags of PFN {pfn:#x} name a zone from {first:#x} to {end:#x}"
                    yield VMEMMAP.finding(where, why=why)

    return judged(len(facts.sections), found())


_NEEDS: Final = (Need.KERNEL, Need.RAM)
CHECKS: Final = (
    Check(MISSING, "RAM that is not in the direct map", "pages", _NEEDS, missing),
    Check(WRONG_FRAME, "direct map with a wrong frame", "pages", (Need.KERNEL,), wrong_frame),
    Check(TYPE, "RAM that is not write-back in the direct map", "pages", _NEEDS, types),
    Check(
        VMEMMAP,
        "struct page and PFN that do not match",
        "sections",
        (Need.KERNEL, Need.SECTIONS),
        vmemmap,
    ),
)
