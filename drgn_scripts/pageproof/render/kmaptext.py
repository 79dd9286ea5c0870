# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory map as text: the rows as in mm.rst, then what the tables hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table

from pageproof.arch.x86_64.rowtexts import REGIONS
from pageproof.model.kmap import Contents, KernelMap, LayoutFacts, MapRow
from pageproof.render import PLAIN_WIDTH
from pageproof.render.findings import print_findings
from pageproof.render.sheet import LABEL, Console, Sheet, Text, print_facts, target_facts

#: A row of the map is never folded; a narrower terminal does that itself.
_WIDTH: Final = 132
_UNITS: Final = (("EB", 60), ("PB", 50), ("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10))
#: Of many like findings this many are shown.
_FINDINGS: Final = 20


def size_words(size_bytes: int) -> str:
    """A size in the documentation's words: "0.25 PB"; "~" before what is rounded."""
    for unit, shift in _UNITS:
        if size_bytes >> shift:
            exact = size_bytes * 100 % (1 << shift) == 0
            return f"{'' if exact else '~'}{round(size_bytes / (1 << shift), 2):g} {unit}"
    return f"{size_bytes} B"


def offset_words(offset_bytes: int) -> str:
    """A distance from the top (negative) or from the bottom: "-119.5 TB"."""
    if offset_bytes == 0:
        return "0"
    words = size_words(abs(offset_bytes))
    sign = "-" if offset_bytes < 0 else "+"
    return f"~{sign}{words[1:]}" if words.startswith("~") else sign + words


def kmap_to_text(found: KernelMap, *, color: bool = False, width: int = PLAIN_WIDTH) -> str:
    """Text with a newline at its end."""
    sheet = Sheet(color=color, width=max(width, _WIDTH))
    console = sheet.console
    print_facts(console, _head(found))
    for note in found.target.notes:
        console.print(Text(f"note: {note}", style=LABEL))
    console.print()
    _map(console, found.rows)
    console.print()
    _contents(console, found)
    _findings(console, found)
    return sheet.text()


def explain_to_text(
    found: KernelMap, name: str, *, color: bool = False, width: int = PLAIN_WIDTH
) -> str:
    """A short text on one region: what lives there, how it becomes physical, what defines it."""
    sheet = Sheet(color=color, width=width)
    region, layout = REGIONS[name], found.layout
    rows = [row for row in found.rows if row.region == name]
    purpose = rows[0].purpose if name != "hole" and rows else region.purpose
    sheet.console.print(Text(f"{name}: {purpose}", style="bold"))
    facts = [("where", _where_words(row)) for row in rows] or [("where", "this kernel has none")]
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
    print_facts(sheet.console, facts)
    return sheet.text()


def _head(found: KernelMap) -> list[tuple[str, str]]:
    layout = found.layout
    facts = target_facts(found.target, found.paging)
    facts.append(("image", _image(layout)))
    memory = f"ends at {layout.memory_bytes:#x}; room for {size_words(layout.physmap_bytes)}"
    facts.append(("memory", f"{memory} ({layout.physmap_from})"))
    if found.pid is not None:
        facts.append(("process", f"pid {found.pid} ({found.comm})"))
    return facts


def _image(layout: LayoutFacts) -> str:
    where = f"{layout.image_start:016x}-{layout.image_end - 1:016x}"
    return f"{where}, moved by {layout.kaslr_offset:#x}" if layout.kaslr else f"{where}, not moved"


def _table(*columns: tuple[str, bool]) -> Table:
    """A table with these headings; True for numbers, which stand at the right."""
    made = Table(box=None, padding=(0, 1, 0, 0), header_style=LABEL, pad_edge=False)
    for name, number in columns:
        made.add_column(name, justify="right" if number else "left", no_wrap=True)
    return made


def _map(console: Console, rows: Sequence[MapRow]) -> None:
    table = _table(
        ("start", False),
        ("offset", True),
        ("end", False),
        ("size", True),
        ("KASLR", False),
        ("region", False),
        ("what it is for", False),
    )
    for row in rows:
        table.add_row(
            f"{row.start:016x}",
            offset_words(row.offset_bytes),
            f"{row.last:016x}",
            size_words(row.size_bytes),
            row.placement.value,
            row.region,
            row.purpose,
            style=_style(row),
        )
    console.print(table)


def _style(row: MapRow) -> str:
    held = row.contents
    if held is not None and held.write_execute_bytes:
        return "bold red"
    if held is None or not held.mapped_bytes:
        return LABEL
    if held.executable_bytes:
        return "green"
    return "yellow" if held.writable_bytes else "cyan"


def _contents(console: Console, found: KernelMap) -> None:
    names = (
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
    table = _table(("what is mapped", False), *((name, True) for name in names), ("tables", False))
    empty = []
    for row in found.rows:
        held = row.contents
        if held is None:
            continue
        if not (held.mapped_bytes or held.shared_bytes or held.unknown_bytes):
            if row.region not in empty:
                empty.append(row.region)
            continue
        table.add_row(
            row.region,
            *(size_words(number) if number else "-" for number in _numbers(held)),
            held.tables,
            style=_style(row),
        )
    console.print(table)
    if empty:
        console.print(Text(f"nothing is mapped in: {', '.join(empty)}", style=LABEL))
    if found.pid is None:
        console.print(Text("user and LDT are each mm's own: --pid PID looks there", style=LABEL))


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
        f"{size_words(held.mapped_bytes)} by {held.tables}, of it "
        f"{size_words(held.writable_bytes)} writable, "
        f"{size_words(held.executable_bytes)} executable, "
        f"{size_words(held.write_execute_bytes)} both"
    )


def _findings(console: Console, found: KernelMap) -> None:
    if found.findings:
        console.print()
    print_findings(console, found.findings, _FINDINGS)
