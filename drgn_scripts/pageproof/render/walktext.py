# SPDX-License-Identifier: GPL-2.0-or-later
"""The way from an address to its frame, as text."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from pageproof.model import MappingFacts, Outcome, TableSet, WalkReport
from pageproof.render import PLAIN_WIDTH, phrases, words
from pageproof.render.sheet import LABEL, Console, Sheet, Text, print_facts, target_facts


def walk_to_text(
    report: WalkReport, *, verbose: bool = False, color: bool = False, width: int = PLAIN_WIDTH
) -> str:
    """Text with a newline at its end.

    Args:
        report: what walk has to say.
        verbose: with what each entry leads to and its bits in the manual's names.
        color: with the terminal's escape sequences.
        width: columns.
    """
    sheet = Sheet(color=color, width=width)
    head = target_facts(report.target, report.paging)
    head += [("note", note) for note in report.target.notes]
    print_facts(sheet.console, [*head, *_asked(report)])
    sheet.console.print()
    _steps(sheet.console, report, verbose)
    _end(sheet.console, report)
    print_facts(sheet.console, _facts(report))
    return sheet.text()


def _asked(report: WalkReport) -> Iterator[tuple[str, str]]:
    address = phrases.address(report.walk.address)
    yield "address", address if _is_hex(report) else f"{address}, {report.asked}"
    yield "tables", f"{words.TABLES[report.tables]}, root 0x{report.walk.root:x}"
    if report.paging.pti and report.tables is TableSet.PROCESS and report.walk.address >> 63 == 0:
        yield "", "the kernel's half, where no user code is executable; user mode's: --user-tables"
    if report.process is not None:
        yield "process", phrases.process(report.process)
        yield "vma", _vma(report.process, report.vma_unknown)


def _is_hex(report: WalkReport) -> bool:
    text = report.asked.replace("_", "").lower().removeprefix("0x")
    return text.lstrip("0") == f"{report.walk.address:x}".lstrip("0")


def _vma(process: MappingFacts, unknown: str) -> str:
    vma = process.vma
    if unknown:
        return f"unknown: {unknown}"
    if vma is None:
        return "no VMA covers this address"
    file = f', file "{vma.file.dentry_name}"' if vma.file is not None else ""
    return f"{vma.start:x}-{vma.end:x}, {vma.vm_flags_words}{file}"


def _steps(console: Console, report: WalkReport, verbose: bool) -> None:
    steps = report.walk.steps
    if not steps:
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style=LABEL, no_wrap=True)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(*(Text(text, style=LABEL) for text in ("level", "table", "index", "entry", "")))
    for step in steps:
        meaning = ", ".join(words.flag(name) for name in step.flags) or step.kind.value
        table.add_row(
            step.name,
            f"0x{step.table:x}",
            f"[{step.index:3}]",
            f"{step.entry:016x}",
            Text(meaning),
        )
        if verbose:
            base = "leads nowhere" if step.base is None else f"-> 0x{step.base:x}"
            bits = " ".join(step.flags)
            table.add_row("", "", "", "", Text(f"{base}  {bits}".rstrip(), style=LABEL))
    console.print(table)
    console.print()


def _end(console: Console, report: WalkReport) -> None:
    walk = report.walk
    style = "bold green" if report.exit_code == 0 else "bold yellow"
    table = Table.grid(padding=(0, 2))
    table.add_column(style=LABEL, width=7, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("frame", Text(phrases.frame(walk), style=style))
    if walk.paddr is not None:
        table.add_row("", f"physical address 0x{walk.paddr:x}")
    if walk.outcome is not Outcome.MAPPED:
        table.add_row("means", Text(words.end(walk)))
        table.add_row("", Text(walk.detail))
    if not report.stable:
        times = phrases.plural(report.attempts, "attempt")
        table.add_row("torn", Text(f"it changed while it was looked at ({times})", style=style))
    console.print(table)


def _facts(report: WalkReport) -> Iterator[tuple[str, str]]:
    walk = report.walk
    if walk.permissions is not None:
        yield "access", phrases.permissions(walk.permissions)
        yield "memory", phrases.memory_type(walk)
        yield "leaf", phrases.size(walk.leaf_bytes)
    if report.second is None:
        yield "drgn", "knows no way to walk this half"
    else:
        yield "drgn", phrases.second_opinion(report.second)
    if report.page is not None:
        yield "page", phrases.struct_page(report.page)
    elif walk.pfn is not None:
        yield "page", "no struct page: this is no memory of the kernel's"
