# SPDX-License-Identifier: GPL-2.0-or-later
"""Regions and their verdicts: a block for each, with a row for each VMA that maps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pageproof.model import MappingFacts, PageRun, ProvedRegion, ProvedUse, Report, Verdict
from pageproof.render.draw.common import columns, region_title
from pageproof.render.sheet import Cell, Part, Sheet, styled
from pageproof.render.styles import VERDICTS


def draw_proved(report: Report, sheet: Sheet) -> None:
    """Draw all regions of a report."""
    for number, region in enumerate(report.regions):
        if number:
            sheet.gap()
        sheet.line(*region_title(region))
        sheet.table(
            columns(4),
            [("", *_use(region, use, report.mappings[use.mapping])) for use in region.uses],
        )


def _use(region: ProvedRegion, use: ProvedUse, mapping: MappingFacts) -> tuple[Cell, ...]:
    vma = mapping.vma
    assert vma is not None
    pages = vma.pages
    counts: list[Part] = []
    if (use.first_page, pages) != (0, region.pages):
        counts.append(f"from page {use.first_page}: ")
    for number, (run, count) in enumerate(_sums(use.runs)):
        counts.append(", " if number else "")
        word = run.reason.value if run.reason else run.verdict.value
        counts.append((f"{count} {word}", VERDICTS[run.verdict]))
    return f"{mapping.pid} {mapping.comm}", f"{vma.start:x}-{vma.end:x}", styled(*counts)


def _sums(runs: Iterable[PageRun]) -> list[tuple[PageRun, int]]:
    """Return the number of pages of each verdict, with a run that has it; DIFFERENT first."""
    sums: Counter[tuple[Verdict, str]] = Counter()
    examples: dict[tuple[Verdict, str], PageRun] = {}
    for run in runs:
        key = run.verdict, str(run.reason or "")
        sums[key] += run.pages
        examples.setdefault(key, run)
    order = [Verdict.DIFFERENT, Verdict.SAME, Verdict.UNKNOWN]
    return [(examples[key], sums[key]) for key in sorted(sums, key=lambda key: order.index(key[0]))]
