# SPDX-License-Identifier: GPL-2.0-or-later
"""Every mapping of a frame, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from pageproof.model.alias import Alias, AliasReport
from pageproof.render import PLAIN_WIDTH, phrases, words
from pageproof.render.findings import print_findings
from pageproof.render.sheet import LABEL, Console, Sheet, Text, print_facts, target_facts


def alias_to_text(report: AliasReport, *, color: bool = False, width: int = PLAIN_WIDTH) -> str:
    """Text with a newline at its end."""
    sheet = Sheet(color=color, width=width)
    head = target_facts(report.target, report.paging)
    head += [("note", note) for note in report.target.notes]
    print_facts(sheet.console, [*head, *_frame(report)])
    sheet.console.print()
    print_aliases(sheet.console, (*report.kernel, *report.users))
    print_findings(sheet.console, report.findings)
    if not report.stable:
        times = phrases.plural(report.attempts, "attempt")
        sheet.console.print(Text(f"torn: mappings came and went ({times})", style="bold yellow"))
    style = {0: "bold green", 1: "bold red"}.get(report.exit_code, "bold yellow")
    sheet.console.print(Text(_sum(report), style=style))
    return sheet.text()


def print_aliases(console: Console, aliases: Sequence[Alias]) -> None:
    """Print mappings as tables: those of the kernel's half, then those of processes."""
    kernel = [(_kernel_place(one), one) for one in aliases if one.region is not None]
    users = [(_process(one), one) for one in aliases if one.region is None]
    for title, some in (("kernel", kernel), ("process", users)):
        if some:
            _table(console, title, some)


def _frame(report: AliasReport) -> Iterator[tuple[str, str]]:
    if report.walk is not None:
        yield "address", f"{phrases.address(report.walk.address)}, {report.asked}"
    yield "frame", f"PFN 0x{report.pfn:x}, physical address 0x{report.pfn << 12:x}"
    if report.page is None:
        yield "page", "no struct page: this is no memory of the kernel's"
    else:
        yield "page", phrases.struct_page(report.page)
    if report.area is not None:
        yield "owner", phrases.area(report.area)


def _table(console: Console, title: str, aliases: Sequence[tuple[str, Alias]]) -> None:
    table = Table.grid(padding=(0, 2))
    for _ in range(5):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    heads = (title, "address", "leaf", "access", "memory", "")
    table.add_row(*(Text(text, style=LABEL) for text in heads))
    for place, one in aliases:
        table.add_row(
            place,
            f"{one.address:016x}",
            phrases.size(one.leaf_bytes),
            Text(phrases.permissions(one.permissions), style=words.access_style(one.permissions)),
            "-" if one.memory_type is None else one.memory_type.value,
            Text(_vma(one), style=LABEL),
        )
    console.print(table)
    console.print()


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
    file = f' "{vma.file.dentry_name}"' if vma.file is not None else ""
    kinds = [name for name in ("PFNMAP", "MIXEDMAP") if name in vma.vm_flags_words.split("|")]
    return " ".join([f"{vma.start:x}-{vma.end:x}{file}", *kinds])


def _sum(report: AliasReport) -> str:
    text = (
        f"{phrases.plural(len(report.kernel) + len(report.users), 'mapping')} in "
        f"{phrases.plural(report.spaces, 'address space')}: {len(report.kernel)} in the kernel's "
        f"half, {len(report.users)} by processes"
    )
    if report.mapcount is not None:
        return f"{text}; struct page counts {report.mapcount}"
    return f"{text}; struct page keeps no count"
