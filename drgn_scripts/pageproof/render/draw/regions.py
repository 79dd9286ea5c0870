# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared regions: a block for each, with a row for each VMA that maps it, or one for many."""

from __future__ import annotations

from pageproof.model.regions import RegionsReport, RegionUse, SharedRegion
from pageproof.render import phrases, styles
from pageproof.render.draw.common import (
    ODD,
    columns,
    draw_head,
    draw_odd,
    is_summed_up,
    many,
    region_title,
)
from pageproof.render.sheet import Sheet


def draw_regions(report: RegionsReport, sheet: Sheet) -> None:
    """Draw the regions, findings and the sum."""
    draw_head(report, sheet)
    for region in report.regions:
        sheet.gap()
        sheet.line(*region_title(region))
        if is_summed_up(len(region.uses), sheet):
            _draw_sum(region, sheet)
        else:
            sheet.table(columns(4), [_use(region, use) for use in region.uses])
    sheet.gap()
    sheet.findings(report.findings)
    sheet.line(_sum(report), style=styles.of_exit(report.exit_code))


def _draw_sum(region: SharedRegion, sheet: Sheet) -> None:
    """Draw the sum of all mappings, and those with unknown pages."""
    pages = resident = unknown = 0
    odd = []
    for use in region.uses:
        assert use.mapping.vma is not None
        pages += use.mapping.vma.pages
        resident += use.resident_pages
        if use.unknown_pages:
            unknown += use.unknown_pages
            odd.append(use)
    text = _resident(resident, pages, unknown)
    sheet.table(columns(4), [("", *many(use.mapping for use in region.uses), text)])
    draw_odd((_use(region, use) for use in odd[:ODD]), len(odd), sheet)


def _resident(resident: int, pages: int, unknown: int) -> str:
    text = f"{resident} of {phrases.plural(pages, 'page')} mapped"
    return f"{text}, {unknown} unknown" if unknown else text


def _use(region: SharedRegion, use: RegionUse) -> tuple[str, ...]:
    mapping, vma = use.mapping, use.mapping.vma
    assert vma is not None
    pages = vma.pages
    part = "" if (use.first_page, pages) == (0, region.pages) else f"from page {use.first_page}, "
    resident = _resident(use.resident_pages, pages, use.unknown_pages)
    return "", f"{mapping.pid} {mapping.comm}", f"{vma.start:x}-{vma.end:x}", part + resident


def _sum(report: RegionsReport) -> str:
    if not report.regions:
        unread = any(finding.id == "task-unreadable" for finding in report.findings)
        return "no shared region was found" + (" in the part that can be read" if unread else "")
    processes = {use.mapping.mm for region in report.regions for use in region.uses}
    return (
        f"{phrases.plural(len(report.regions), 'region')} in "
        f"{phrases.plural(len(processes), 'address space')}"
    )
