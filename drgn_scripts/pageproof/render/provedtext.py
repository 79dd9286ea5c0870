# SPDX-License-Identifier: GPL-2.0-or-later
"""Regions and their verdicts as text: a block each, a line for each VMA that maps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.table import Table

from pageproof.model import MappingFacts, PageRun, ProvedRegion, ProvedUse, Report, Verdict
from pageproof.render import phrases
from pageproof.render.sheet import LABEL, Console, Text
from pageproof.space.units import PAGE_BYTES

_STYLES = {Verdict.DIFFERENT: "bold red", Verdict.UNKNOWN: "yellow"}


def regions_of(console: Console, report: Report) -> None:
    """Print all regions of a report."""
    for number, region in enumerate(report.regions):
        if number:
            console.print()
        console.print(_title(region))
        table = Table.grid(padding=(0, 2))
        for _ in range(4):
            table.add_column(no_wrap=True)
        for use in region.uses:
            table.add_row("", *_use(region, use, report.mappings[use.mapping]))
        console.print(table)


def _title(region: ProvedRegion) -> Text:
    kind = f"{region.kind} {region.part}".rstrip()
    owner = f"{region.owner_type} {phrases.address(region.owner)}"
    size = phrases.size(region.pages * PAGE_BYTES)
    return Text.assemble((kind, "bold"), f"  {region.name}, {size}", (f"  {owner}", LABEL))


def _use(region: ProvedRegion, use: ProvedUse, mapping: MappingFacts) -> tuple[str, str, Text]:
    vma = mapping.vma
    assert vma is not None
    pages = vma.pages
    part = "" if (use.first_page, pages) == (0, region.pages) else f"from page {use.first_page}: "
    counts = Text(part)
    for number, (run, count) in enumerate(_sums(use.runs)):
        counts.append(", " if number else "")
        word = run.reason.value if run.reason else run.verdict.value
        counts.append(f"{count} {word}", style=_STYLES.get(run.verdict, ""))
    return f"{mapping.pid} {mapping.comm}", f"{vma.start:x}-{vma.end:x}", counts


def _sums(runs: Iterable[PageRun]) -> list[tuple[PageRun, int]]:
    """Pages of each verdict, with a run that has it; DIFFERENT first."""
    sums: Counter[tuple[Verdict, str]] = Counter()
    examples: dict[tuple[Verdict, str], PageRun] = {}
    for run in runs:
        key = run.verdict, str(run.reason or "")
        sums[key] += run.pages
        examples.setdefault(key, run)
    order = [Verdict.DIFFERENT, Verdict.SAME, Verdict.UNKNOWN]
    return [(examples[key], sums[key]) for key in sorted(sums, key=lambda key: order.index(key[0]))]
