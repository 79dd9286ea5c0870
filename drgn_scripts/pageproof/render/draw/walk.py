# SPDX-License-Identifier: GPL-2.0-or-later
"""The walk from an address to its frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pageproof import arch
from pageproof.model import MappingFacts, Outcome, TableSet, WalkReport
from pageproof.render import phrases, styles, words
from pageproof.render.draw.common import FOLDED, draw_head
from pageproof.render.sheet import Cell, Column, Fact, Sheet, styled
from pageproof.render.styles import LABEL

_STEPS: Final = (
    Column("level", style=LABEL),
    *map(Column, ("table", "index", "entry")),
    FOLDED,
)


def draw_walk(report: WalkReport, sheet: Sheet) -> None:
    """Draw each step and the frame; if the sheet is verbose, the target and bits of each entry."""
    draw_head(report, sheet, _asked(report))
    sheet.gap()
    if report.walk.steps:
        sheet.table(_STEPS, _steps(report, sheet.verbose))
        sheet.gap()
    sheet.facts(_end(report))
    sheet.facts(_facts(report))


def _asked(report: WalkReport) -> Iterator[Fact]:
    yield "address", phrases.asked_address(report.walk.address, report.asked)
    yield "tables", f"{words.TABLES[report.tables]}, root 0x{report.walk.root:x}"
    upper = arch.of(report.target.arch).is_upper(report.walk.address)
    if report.paging.pti and report.tables is TableSet.PROCESS and not upper:
        other = "--user-tables shows user mode's"
        yield "", f"the kernel's half, in which user code is not executable; {other}"
    if report.process is not None:
        yield "process", phrases.process(report.process)
        yield "vma", _vma(report.process, report.vma_unknown)


def _vma(process: MappingFacts, unknown: str) -> str:
    vma = process.vma
    if unknown:
        return f"unknown: {unknown}"
    if vma is None:
        return phrases.NO_VMA
    file = f', file "{vma.file.dentry_name}"' if vma.file is not None else ""
    return f"{vma.start:x}-{vma.end:x}, {vma.vm_flags_words}{file}"


def _steps(report: WalkReport, verbose: bool) -> Iterator[tuple[Cell, ...]]:
    architecture = arch.of(report.target.arch)
    for step in report.walk.steps:
        flags = ", ".join(words.flag(architecture, name) for name in step.flags)
        index, entry = f"[{step.index:3}]", f"{step.entry:016x}"
        yield step.name, f"0x{step.table:x}", index, entry, flags or step.kind.value
        if verbose:
            base = "leads nowhere" if step.base is None else f"-> 0x{step.base:x}"
            bits = " ".join(step.flags)
            yield "", "", "", "", styled(f"{base}  {bits}".rstrip(), style=LABEL)


def _end(report: WalkReport) -> Iterator[Fact]:
    walk = report.walk
    style = styles.of_exit(report.exit_code)
    yield "frame", styled(phrases.frame(walk), style=style)
    if walk.paddr is not None:
        yield "", f"physical address 0x{walk.paddr:x}"
    if walk.outcome is not Outcome.MAPPED:
        yield "means", words.end(arch.of(report.target.arch), walk)
        yield "", walk.detail
    if not report.stable:
        yield "torn", styled(phrases.torn(report.attempts), style=style)


def _facts(report: WalkReport) -> Iterator[Fact]:
    walk = report.walk
    if walk.permissions is not None:
        yield "access", phrases.permissions(walk.permissions)
        yield "memory", phrases.memory_type(walk)
        yield "leaf", phrases.size(walk.leaf_bytes)
    if report.second is None:
        yield "drgn", "cannot walk these tables"
    else:
        yield "drgn", phrases.second_opinion(report.second)
    if report.page is not None:
        yield "page", phrases.struct_page(report.page)
    elif walk.pfn is not None:
        yield "page", phrases.NO_STRUCT_PAGE
