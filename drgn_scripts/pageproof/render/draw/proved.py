# SPDX-License-Identifier: GPL-2.0-or-later
"""Regions and verdicts: a block for each, with a row for each VMA that maps it, or one for many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pageproof.model import (
    MappingFacts,
    PageRun,
    ProvedRegion,
    ProvedUse,
    Reason,
    Report,
    Verdict,
)
from pageproof.render.draw.common import ODD, columns, draw_odd, is_summed_up, many, region_title
from pageproof.render.sheet import Cell, Part, Sheet, styled
from pageproof.render.styles import VERDICTS


def draw_proved(report: Report, sheet: Sheet) -> None:
    """Draw all regions of a report."""
    for number, region in enumerate(report.regions):
        if number:
            sheet.gap()
        sheet.line(*region_title(region))
        if is_summed_up(len(region.uses), sheet):
            _draw_sum(region, report.mappings, sheet)
        else:
            sheet.table(columns(4), [_row(region, use, report.mappings) for use in region.uses])


def _draw_sum(region: ProvedRegion, mappings: Sequence[MappingFacts], sheet: Sheet) -> None:
    """Draw the sum of all mappings, and those with pages that are bad or undecided."""
    runs = (run for use in region.uses for run in use.runs)
    text = styled(*_counts(runs))
    sheet.table(columns(4), [("", *many(mappings[use.mapping] for use in region.uses), text)])
    odd = [use for use in region.uses if not all(map(_is_common, use.runs))]
    odd.sort(key=lambda use: all(run.verdict is not Verdict.DIFFERENT for run in use.runs))
    draw_odd((_row(region, use, mappings) for use in odd[:ODD]), len(odd), sheet)


def _is_common(run: PageRun) -> bool:
    """Return whether pages are sound, or nobody has touched them."""
    return run.verdict is Verdict.SAME or run.reason is Reason.NOT_PRESENT


def _row(
    region: ProvedRegion, use: ProvedUse, mappings: Sequence[MappingFacts]
) -> tuple[Cell, ...]:
    mapping = mappings[use.mapping]
    vma = mapping.vma
    assert vma is not None
    whole = (use.first_page, vma.pages) == (0, region.pages)
    first = () if whole else (f"from page {use.first_page}: ",)
    place = f"{vma.start:x}-{vma.end:x}"
    return "", f"{mapping.pid} {mapping.comm}", place, styled(*first, *_counts(use.runs))


def _counts(runs: Iterable[PageRun]) -> Iterator[Part]:
    for number, (run, count) in enumerate(_sums(runs)):
        yield ", " if number else ""
        word = run.reason.value if run.reason else run.verdict.value
        yield f"{count} {word}", VERDICTS[run.verdict]


def _sums(runs: Iterable[PageRun]) -> list[tuple[PageRun, int]]:
    """Return the number of pages of each verdict, with a run that has it; DIFFERENT first."""
    sums: Counter[tuple[Verdict, Reason | None]] = Counter()
    examples: dict[tuple[Verdict, Reason | None], PageRun] = {}
    for run in runs:
        key = run.verdict, run.reason
        sums[key] += run.pages
        examples.setdefault(key, run)
    order = [Verdict.DIFFERENT, Verdict.SAME, Verdict.UNKNOWN]
    return [(examples[key], sums[key]) for key in sorted(sums, key=lambda key: order.index(key[0]))]
