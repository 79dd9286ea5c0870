# SPDX-License-Identifier: GPL-2.0-or-later
"""Every mapping of a frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import Final

from pageproof.model.alias import Alias, AliasReport
from pageproof.render import phrases, styles
from pageproof.render.draw.common import draw_head, is_summed_up
from pageproof.render.sheet import Cell, Column, Fact, Sheet, styled
from pageproof.render.styles import LABEL

#: Mappings that differ from most others are listed one by one, if there are no more than this.
_FEW: Final = 5


def draw_alias(report: AliasReport, sheet: Sheet) -> None:
    """Draw the frame, its mappings, findings and the sum."""
    draw_head(report, sheet, _frame(report))
    sheet.gap()
    draw_aliases((*report.kernel, *report.users), sheet)
    sheet.findings(report.findings)
    if not report.stable:
        times = phrases.plural(report.attempts, "attempt")
        sheet.line(f"torn: mappings kept appearing or disappearing ({times})", style=styles.DOUBT)
    sheet.line(_sum(report), style=styles.of_exit(report.exit_code))


def draw_aliases(aliases: Sequence[Alias], sheet: Sheet) -> None:
    """Draw mappings as tables: those of the kernel's half, then those of processes.

    Many mappings that are alike are one row.
    """
    kernel = [(_kernel_place(one), one) for one in aliases if one.region is not None]
    users = [(_process(one), one) for one in aliases if one.region is None]
    for title, some in (("kernel", kernel), ("process", users)):
        if some:
            headings = (title, "address", "leaf", "access", "memory")
            columns = (*map(Column, headings), Column(fold=True))
            summed_up = is_summed_up(len(some), sheet)
            sheet.table(columns, _summed_up(some) if summed_up else starmap(_row, some))
            if summed_up:
                sheet.line("-v lists each mapping", style=LABEL)
            sheet.gap()


def _frame(report: AliasReport) -> Iterator[Fact]:
    if report.walk is not None:
        yield "address", f"{phrases.address(report.walk.address)}, {report.asked}"
    yield "frame", f"PFN 0x{report.pfn:x}, physical address 0x{report.pfn << 12:x}"
    if report.page is None:
        yield "page", phrases.NO_STRUCT_PAGE
    else:
        yield "page", phrases.struct_page(report.page)
    if report.area is not None:
        yield "owner", phrases.area(report.area)


def _row(place: str, one: Alias) -> tuple[Cell, ...]:
    return (
        place,
        phrases.address(one.address),
        phrases.size(one.leaf_bytes),
        styled(phrases.permissions(one.permissions), style=styles.of_access(one.permissions)),
        "-" if one.memory_type is None else one.memory_type,
        styled(_vma(one), style=LABEL),
    )


def _summed_up(some: Sequence[tuple[str, Alias]]) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for mappings that are alike, or rows for each if they are few."""
    alike: dict[tuple[object, ...], list[tuple[str, Alias]]] = {}
    for place, one in some:
        access = one.permissions, one.memory_type
        where = place if one.process is None else (one.process.vma is None, _kinds(one))
        alike.setdefault((one.leaf_bytes, *access, where), []).append((place, one))
    for group in alike.values():
        if len(group) <= _FEW:
            yield from starmap(_row, group)
            continue
        place, one = group[0]
        processes = {one.process.pid for _, one in group if one.process is not None}
        files = {_file(one) for _, one in group}
        yield (
            phrases.processes(len(processes)) if processes else place,
            f"{len(group)} mappings",
            *_row(place, one)[2:-1],
            styled(" ".join((*files, *_kinds(one))) if len(files) == 1 else "", style=LABEL),
        )


def _kernel_place(one: Alias) -> str:
    return f"{one.region}" if one.tables == "init_mm" else f"{one.region} ({one.tables})"


def _process(one: Alias) -> str:
    assert one.process is not None
    return f"{one.process.pid} {one.process.comm}"


def _vma(one: Alias) -> str:
    if one.region is not None:
        return ""
    vma = None if one.process is None else one.process.vma
    if vma is None:
        return "no VMA"
    return " ".join([f"{vma.start:x}-{vma.end:x}", *filter(None, [_file(one)]), *_kinds(one)])


def _file(one: Alias) -> str:
    vma = None if one.process is None else one.process.vma
    return "" if vma is None or vma.file is None else f'"{vma.file.dentry_name}"'


def _kinds(one: Alias) -> tuple[str, ...]:
    """Return the words for mappings that struct page does not count."""
    vma = None if one.process is None else one.process.vma
    words = () if vma is None else vma.vm_flags_words.split("|")
    return tuple(name for name in ("PFNMAP", "MIXEDMAP") if name in words)


def _sum(report: AliasReport) -> str:
    text = (
        f"{phrases.plural(len(report.kernel) + len(report.users), 'mapping')} in "
        f"{phrases.plural(report.spaces, 'address space')}: {len(report.kernel)} in the kernel's "
        f"half, {len(report.users)} by processes"
    )
    if report.mapcount is not None:
        return f"{text}; struct page counts {report.mapcount}"
    return f"{text}; struct page keeps no count"
