# SPDX-License-Identifier: GPL-2.0-or-later
"""vmalloc areas and their page tables."""

from __future__ import annotations

from typing import Final

from pageproof import arch
from pageproof.judge.audit.check import Check, Judged, addresses, bytes_shown, judged
from pageproof.model import Finding, Range, Severity
from pageproof.model.auditfacts import AuditFacts, Need
from pageproof.model.rule import Rule
from pageproof.space.rows import mapped_in, named_rows
from pageproof.space.spans import pages_of
from pageproof.space.vmalloc import VMALLOC_ROWS, Mismatch, mismatches
from pageproof.space.vmalloc import unowned as unowned_spans

UNOWNED: Final = Rule(
    id="vmalloc-unowned",
    severity=Severity.ERROR,
    sentence="pages are mapped in vmalloc space outside any area: they are never unmapped, and the "
    "next area at this address gets them",
    cause="An entry was written by hand, or was not removed when its area was freed.",
    fix="Map with vmap(), ioremap() or map_kernel_range() into an area that you allocated.",
    reference="mm/vmalloc.c: vunmap_range(), find_vmap_area()",
)

BEYOND: Final = Rule(
    id="vmalloc-wrong-page",
    severity=Severity.ERROR,
    sentence="a vmalloc area maps other pages than it owns: {why}",
    cause="vm_struct.pages lists the pages that vmalloc() allocated for the area, and its guard "
    "page stays empty. Something wrote to the tables or to the list.",
    fix="Find the code that did.",
    reference="mm/vmalloc.c: __vmalloc_area_node()",
)


def _mapped(facts: AuditFacts) -> list[Range]:
    assert facts.layout is not None
    assert facts.kernel is not None
    rows = arch.of(facts.target.arch).memory_map(facts.layout)
    return mapped_in(named_rows(rows, *VMALLOC_ROWS), facts.kernel)


def unowned(facts: AuditFacts) -> Judged:
    """Find mapped pages outside areas."""
    mapped = _mapped(facts)
    spans = unowned_spans(mapped, facts.areas or (), facts.moving)
    found = (UNOWNED.finding(addresses(span), bytes_shown(span)) for span in spans)
    return judged(sum(map(pages_of, mapped)), found)


def _finding(one: Mismatch) -> Finding:
    if one.listed is None:
        why = f"beyond its {len(one.area.frames)} pages"
        return BEYOND.finding(addresses(one.span), why=why)
    shown = (
        ("mapped", f"0x{one.mapped:x}"),
        ("owned", f"0x{one.listed:x}"),
        ("caller", one.area.caller),
    )
    return BEYOND.finding(addresses(one.span), shown, why="another frame than in its list")


def wrong_page(facts: AuditFacts) -> Judged:
    """Check the areas that have a list of pages."""
    areas = sum(bool(area.frames) for area in facts.areas or ())
    found = mismatches(_mapped(facts), facts.areas or (), facts.moving)
    return judged(areas, map(_finding, found))


_NEEDS: Final = (Need.KERNEL, Need.AREAS)
CHECKS: Final = (
    Check(UNOWNED, "mapped pages in vmalloc space outside any area", "pages", _NEEDS, unowned),
    Check(BEYOND, "areas that map other pages than they own", "areas", _NEEDS, wrong_page),
)
