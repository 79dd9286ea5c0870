# SPDX-License-Identifier: GPL-2.0-or-later
"""An address space as text: procfs's lines, and under each what the tables hold."""

from __future__ import annotations

from typing import Final

from pageproof.model import MapsReport, Run, VmaLine, VmaResidency
from pageproof.render import PLAIN_WIDTH, phrases, words
from pageproof.render.sheet import LABEL, Console, Sheet, Text, print_facts, target_facts

#: Where procfs begins the name: ``seq_setwidth(m, 25 + sizeof(void *) * 6 - 1)``.
_NAME_COLUMN: Final = 72
_LEAVES: Final = {1 << 12: "4K", 1 << 21: "2M", 1 << 30: "1G"}


def maps_to_text(
    report: MapsReport, *, pages: bool = False, color: bool = False, width: int = PLAIN_WIDTH
) -> str:
    """Text with a newline at its end.

    Args:
        report: what maps has to say.
        pages: with the ranges under each VMA.
        color: with the terminal's escape sequences.
        width: columns; procfs's own lines are not folded.
    """
    sheet = Sheet(color=color, width=width)
    process = report.process
    head = target_facts(report.target, report.paging)
    head += [("note", note) for note in report.target.notes]
    threads = f"{phrases.plural(process.threads, 'thread')} on mm {phrases.address(process.mm)}"
    head += [
        ("process", f"{phrases.process(process)}, {threads}"),
        ("tables", f"{phrases.size(report.pgtables_bytes)} below the root 0x{process.root:x}"),
    ]
    if not report.stable:
        head.append(("torn", "the VMAs changed while they were looked at"))
    if report.lost:
        head.append(("missing", f"some VMAs cannot be read: {report.lost}"))
    print_facts(sheet.console, head)
    sheet.console.print()
    for vma in report.vmas:
        _vma(sheet.console, vma, pages)
    if report.outside:
        where = "where no VMA is found" if report.lost else "where no VMA is"
        _line(sheet.console, Text(f"mapped {where}", style="bold red"))
        for run in report.outside:
            _run(sheet.console, run)
    _line(sheet.console, _total(report))
    return sheet.text()


def procfs_line(line: VmaLine) -> str:
    """A VMA as a line of ``/proc/PID/maps``; without the blank at its end if it has no name."""
    text = (
        f"{line.vma.start:08x}-{line.vma.end:08x} {line.permissions} {line.offset_bytes:08x} "
        f"{line.device_major:02x}:{line.device_minor:02x} {line.inode_number} "
    )
    return f"{text:<{_NAME_COLUMN}} {line.name}" if line.name else text.rstrip()


def _vma(console: Console, vma: VmaResidency, pages: bool) -> None:
    letters = vma.line.permissions
    style = (
        "bold red"
        if "w" in letters and "x" in letters
        else "yellow"
        if "w" in letters
        else "green"
        if "x" in letters
        else ""
    )
    _line(console, Text(procfs_line(vma.line), style=style))
    resident = [
        f"{phrases.size(count)} in {name}"
        for name, count in (
            ("4K", vma.resident_4k_bytes),
            ("2M", vma.resident_2m_bytes),
            ("1G", vma.resident_1g_bytes),
        )
        if count
    ]
    resident += [f"{phrases.size(one.length_bytes)} {one.outcome.value}" for one in vma.other]
    shares = [
        f"{phrases.size(count)} {word}"
        for word, count in (("private", vma.private_bytes), ("shared", vma.shared_bytes))
        if count
    ]
    types = "/".join(kind.value for kind in vma.memory_types)
    parts = [", ".join(resident) or "nothing resident"]
    parts += [part for part in (", ".join(shares), types) if part]
    parts.append(vma.line.vma.vm_flags_words)
    _line(console, Text(f"    {'; '.join(parts)}", style=LABEL))
    if pages:
        for run in vma.runs:
            _run(console, run)


def _run(console: Console, run: Run) -> None:
    length = run.last - run.start + 1
    leaf = _LEAVES.get(run.leaf_bytes, phrases.size(run.leaf_bytes))
    text = f"    {run.start:012x}-{run.last + 1:012x}  {phrases.size(length):>9}  {leaf}"
    if run.frame is None:
        _line(console, Text(f"{text}  {run.outcome.value}"))
        return
    memory = "-" if run.memory_type is None else run.memory_type.value
    text += f"  PFN 0x{run.frame >> 12:x}  {phrases.permissions(run.permissions)}  {memory}"
    _line(console, Text(text, style=words.access_style(run.permissions)))


def _total(report: MapsReport) -> Text:
    small = sum(vma.resident_4k_bytes for vma in report.vmas)
    large = sum(vma.resident_2m_bytes for vma in report.vmas)
    huge = sum(vma.resident_1g_bytes for vma in report.vmas)
    text = (
        f"{phrases.plural(len(report.vmas), 'VMA')}, {phrases.size(small + large + huge)} resident"
    )
    text += (
        f": {phrases.size(small)} in 4K, {phrases.size(large)} in 2M, {phrases.size(huge)} in 1G"
    )
    return Text(text, style="bold green" if report.exit_code == 0 else "bold yellow")


def _line(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)
