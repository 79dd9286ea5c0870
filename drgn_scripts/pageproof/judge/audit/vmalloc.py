# SPDX-License-Identifier: GPL-2.0-or-later
"""vmalloc areas against the page tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pageproof.arch.x86_64.rows import memory_map
from pageproof.judge.audit.check import Check, Judged, bytes_shown, judged, place
from pageproof.model import Finding, Range, Severity
from pageproof.model.auditfacts import Area, AuditFacts, Need, Span
from pageproof.model.rule import Rule
from pageproof.space.spans import is_mapped, joined, pages_of, span_of, within, without
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT

UNOWNED: Final = Rule(
    id="vmalloc-unowned",
    severity=Severity.ERROR,
    sentence="pages are mapped in vmalloc space where no area is: nobody will unmap them, and the "
    "next area here gets them",
    cause="An entry that was made by hand, or that the area's end did not take away.",
    fix="Map by vmap(), ioremap() or map_kernel_range() into an area of one's own.",
    reference="mm/vmalloc.c: vunmap_range(), find_vmap_area()",
)

BEYOND: Final = Rule(
    id="vmalloc-wrong-page",
    severity=Severity.ERROR,
    sentence="a vmalloc area maps other pages than it owns: {why}",
    cause="vm_struct.pages lists what vmalloc() took for the area, and its guard page stays empty. "
    "Somebody wrote to the tables, or to the list.",
    fix="Look for who did.",
    reference="mm/vmalloc.c: __vmalloc_area_node()",
)

_REGIONS: Final = ("vmalloc", "modules")


def _mapped(facts: AuditFacts) -> list[Range]:
    assert facts.layout is not None
    assert facts.kernel is not None
    return [
        one
        for row in memory_map(facts.layout)
        if row.region in _REGIONS
        for one in within(facts.kernel, row.start, row.last + 1)
        if is_mapped(one)
    ]


def _unowned(facts: AuditFacts, mapped: list[Range]) -> Iterator[Span]:
    areas = list(joined(Span(area.start, area.end) for area in facts.areas or ()))
    spans = joined(part for span in joined(map(span_of, mapped)) for part in without(span, areas))
    return (part for span in spans for part in without(span, facts.moving))


def unowned(facts: AuditFacts) -> Judged:
    """Every mapped page is in an area."""
    mapped = _mapped(facts)
    found = (UNOWNED.finding(place(span), bytes_shown(span)) for span in _unowned(facts, mapped))
    return judged(sum(map(pages_of, mapped)), found)


def _wrong(area: Area, mapped: list[Range]) -> Iterator[tuple[Span, Finding]]:
    beyond = area.start + len(area.frames) * PAGE_BYTES
    for one in within(mapped, area.start, area.end):
        assert one.frame is not None
        first = (one.start - area.start) >> PAGE_SHIFT
        count = pages_of(one)
        pfn = one.frame >> PAGE_SHIFT
        listed = area.frames[first : first + count]
        if listed != tuple(range(pfn, pfn + len(listed))):
            index = next(i for i, other in enumerate(listed) if other != pfn + i)
            at = one.start + index * PAGE_BYTES
            shown = (
                ("mapped", f"0x{pfn + index:x}"),
                ("owned", f"0x{listed[index]:x}"),
                ("caller", area.caller),
            )
            wrong = Span(at, at + PAGE_BYTES)
            yield wrong, BEYOND.finding(place(wrong), shown, why="another frame than in its list")
        elif len(listed) < count:
            why = f"beyond its {len(area.frames)} pages"
            wrong = Span(max(one.start, beyond), one.last + 1)
            yield wrong, BEYOND.finding(place(wrong), why=why)


def _wrong_in_all(facts: AuditFacts, mapped: list[Range]) -> Iterator[tuple[Span, Finding]]:
    for area in facts.areas or ():
        for span, finding in _wrong(area, mapped) if area.frames else ():
            if next(without(span, facts.moving), None) == span:
                yield span, finding


def wrong_page(facts: AuditFacts) -> Judged:
    """Of the areas that list their pages."""
    mapped = _mapped(facts)
    areas = sum(bool(area.frames) for area in facts.areas or ())
    return judged(areas, (finding for _, finding in _wrong_in_all(facts, mapped)))


def odd_spans(facts: AuditFacts) -> list[Span]:
    """Where tables and areas do not fit together, in order of address."""
    mapped = _mapped(facts)
    wrong = (span for span, _ in _wrong_in_all(facts, mapped))
    spans = {*_unowned(facts, mapped), *wrong}
    return list(joined(sorted(spans, key=lambda one: one.start)))


_NEEDS: Final = (Need.KERNEL, Need.AREAS)
CHECKS: Final = (
    Check(UNOWNED, "pages in vmalloc space that no area has", "pages", _NEEDS, unowned),
    Check(BEYOND, "areas that map other pages than they own", "areas", _NEEDS, wrong_page),
)
