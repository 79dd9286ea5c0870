# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared regions as text: a block each, a line for each VMA that maps it."""

from __future__ import annotations

from rich.table import Table

from pageproof.model.regions import RegionsReport, RegionUse, SharedRegion
from pageproof.render import PLAIN_WIDTH, phrases
from pageproof.render.findings import print_findings
from pageproof.render.sheet import LABEL, Sheet, Text, print_facts, target_facts
from pageproof.space.units import PAGE_BYTES


def regions_to_text(report: RegionsReport, *, color: bool = False, width: int = PLAIN_WIDTH) -> str:
    """Text with a newline at its end."""
    sheet = Sheet(color=color, width=width)
    head = target_facts(report.target, report.paging)
    head += [("note", note) for note in report.target.notes]
    print_facts(sheet.console, head)
    for region in report.regions:
        sheet.console.print()
        sheet.console.print(_title(region))
        sheet.console.print(_uses(region))
    sheet.console.print()
    print_findings(sheet.console, report.findings)
    style = "bold green" if report.exit_code == 0 else "bold yellow"
    sheet.console.print(Text(_sum(report), style=style))
    return sheet.text()


def _title(region: SharedRegion) -> Text:
    kind = f"{region.kind} {region.part}".rstrip()
    owner = f"{region.owner_type} {phrases.address(region.owner)}"
    size = phrases.size(region.pages * PAGE_BYTES)
    return Text.assemble((kind, "bold"), f"  {region.name}, {size}", (f"  {owner}", LABEL))


def _uses(region: SharedRegion) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column(no_wrap=True)
    for use in region.uses:
        table.add_row("", *_use(region, use))
    return table


def _use(region: SharedRegion, use: RegionUse) -> tuple[str, str, str]:
    mapping, vma = use.mapping, use.mapping.vma
    assert vma is not None
    pages = vma.pages
    part = "" if (use.first_page, pages) == (0, region.pages) else f"from page {use.first_page}, "
    resident = f"{part}{use.resident_pages} of {phrases.plural(pages, 'page')} mapped"
    if use.unknown_pages:
        resident += f", {use.unknown_pages} unknown"
    return f"{mapping.pid} {mapping.comm}", f"{vma.start:x}-{vma.end:x}", resident


def _sum(report: RegionsReport) -> str:
    if not report.regions:
        unread = any(finding.id == "task-unreadable" for finding in report.findings)
        return "no shared region was found" + (" in what can be read" if unread else "")
    processes = {use.mapping.mm for region in report.regions for use in region.uses}
    return (
        f"{phrases.plural(len(report.regions), 'region')} in "
        f"{phrases.plural(len(processes), 'address space')}"
    )
