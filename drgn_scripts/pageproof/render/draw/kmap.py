# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory map: the rows as in mm.rst, then what the page tables hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pageproof import arch
from pageproof.model.kmap import Contents, KernelMap, LayoutFacts, MapRow
from pageproof.render import phrases
from pageproof.render.draw.common import draw_head
from pageproof.render.sheet import Cell, Column, Fact, Sheet, styled
from pageproof.render.styles import BAD, LABEL, TITLE

#: Columns that a row of the map needs; a narrower terminal folds it.
_WIDTH: Final = 132
_UNITS: Final = (("EB", 60), ("PB", 50), ("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10))
#: Groups of findings that are shown; the others are counted.
_FINDINGS: Final = 20
_MAP: Final = (
    Column("start"),
    Column("offset", right=True),
    Column("end"),
    Column("size", right=True),
    Column("KASLR"),
    Column("region"),
    Column("what it is for"),
)
_CONTENTS: Final = (
    Column("what is mapped"),
    *(
        Column(name, right=True)
        for name in (
            "mapped",
            "by 4K",
            "by 2M",
            "by 1G",
            "writable",
            "executable",
            "W+X",
            "shared",
            "unknown",
        )
    ),
    Column("tables"),
)


@dataclass(frozen=True)
class ExplainedArea:
    """An area of the memory map to explain (``kmap --explain``)."""

    found: KernelMap
    name: str


def size_words(size_bytes: int) -> str:
    """Return a size as the kernel's documentation writes it: "0.25 PB"; "~" if it is rounded."""
    for unit, shift in _UNITS:
        if size_bytes >> shift:
            exact = size_bytes * 100 % (1 << shift) == 0
            return f"{'' if exact else '~'}{round(size_bytes / (1 << shift), 2):g} {unit}"
    return f"{size_bytes} B"


def offset_words(offset_bytes: int) -> str:
    """Return a distance from the top (negative) or from the bottom: "-119.5 TB"."""
    if offset_bytes == 0:
        return "0"
    words = size_words(abs(offset_bytes))
    sign = "-" if offset_bytes < 0 else "+"
    return f"~{sign}{words[1:]}" if words.startswith("~") else sign + words


def draw_kmap(found: KernelMap, sheet: Sheet) -> None:
    """Draw the map, what is mapped in each row, and findings."""
    sheet.least_width = _WIDTH
    draw_head(found, sheet, _head(found))
    sheet.gap()
    sheet.table(_MAP, map(_row, found.rows), gap=1)
    sheet.gap()
    _contents(found, sheet)
    if found.findings:
        sheet.gap()
    sheet.findings(found.findings, _FINDINGS)


def draw_explained_area(answer: ExplainedArea, sheet: Sheet) -> None:
    """Draw what is known about one area: contents, physical address, definition."""
    found, name = answer.found, answer.name
    region, layout = arch.of(found.target.arch).row_texts[name], found.layout
    rows = [row for row in found.rows if row.region == name]
    purpose = rows[0].purpose if name != "hole" and rows else region.purpose
    sheet.line(f"{name}: {purpose}", style=TITLE)
    facts: list[Fact] = [("where", _where_words(row)) for row in rows] or [
        ("where", "this kernel has none")
    ]
    if name == "text":
        facts.append(("image", _image(layout)))
    if name == "physmap":
        room = f"{size_words(layout.physmap_bytes)}, from {layout.physmap_from}"
        facts.append(("room", f"{room}; memory ends at {layout.memory_bytes:#x}"))
    held = [row.contents for row in rows if row.contents and row.contents.mapped_bytes]
    facts += [("mapped", _held_words(contents)) for contents in held]
    facts += [
        ("lives", region.lives),
        ("to phys", region.physical),
        ("defined", region.defined),
    ]
    sheet.facts(facts)


def _head(found: KernelMap) -> Iterator[Fact]:
    layout = found.layout
    yield "image", _image(layout)
    memory = f"ends at {layout.memory_bytes:#x}; room for {size_words(layout.physmap_bytes)}"
    yield "memory", f"{memory} ({layout.physmap_from})"
    if found.pid is not None:
        yield "process", f"pid {found.pid} ({found.comm})"


def _image(layout: LayoutFacts) -> str:
    where = f"{layout.image_start:016x}-{layout.image_end - 1:016x}"
    return f"{where}, moved by {layout.kaslr_offset:#x}" if layout.kaslr else f"{where}, not moved"


def _row(row: MapRow) -> tuple[Cell, ...]:
    texts = (
        phrases.address(row.start),
        offset_words(row.offset_bytes),
        phrases.address(row.last),
        size_words(row.size_bytes),
        row.placement.value,
        row.region,
        row.purpose,
    )
    return tuple(styled(text, style=_style(row)) for text in texts)


def _style(row: MapRow) -> str:
    held = row.contents
    if held is not None and held.write_execute_bytes:
        return BAD
    if held is None or not held.mapped_bytes:
        return LABEL
    if held.executable_bytes:
        return "green"
    return "yellow" if held.writable_bytes else "cyan"


def _contents(found: KernelMap, sheet: Sheet) -> None:
    rows, empty = [], []
    for row in found.rows:
        held = row.contents
        if held is None:
            continue
        if held.mapped_bytes or held.shared_bytes or held.unknown_bytes:
            numbers = (size_words(number) if number else "-" for number in _numbers(held))
            texts = (row.region, *numbers, held.tables)
            rows.append(tuple(styled(text, style=_style(row)) for text in texts))
        elif row.region not in empty:
            empty.append(row.region)
    sheet.table(_CONTENTS, rows, gap=1)
    if empty:
        sheet.line(f"nothing is mapped in: {', '.join(empty)}", style=LABEL)
    if found.pid is None:
        sheet.line("user and LDT differ for each mm: --pid PID shows them", style=LABEL)


def _numbers(held: Contents) -> tuple[int, ...]:
    return (
        held.mapped_bytes,
        held.mapped_4k_bytes,
        held.mapped_2m_bytes,
        held.mapped_1g_bytes,
        held.writable_bytes,
        held.executable_bytes,
        held.write_execute_bytes,
        held.shared_bytes,
        held.unknown_bytes,
    )


def _where_words(row: MapRow) -> str:
    return f"{row.start:016x}-{row.last:016x}, {size_words(row.size_bytes)}, {row.placement.value}"


def _held_words(held: Contents) -> str:
    return (
        f"{size_words(held.mapped_bytes)} by {held.tables}: "
        f"{size_words(held.writable_bytes)} writable, "
        f"{size_words(held.executable_bytes)} executable, "
        f"{size_words(held.write_execute_bytes)} both"
    )
