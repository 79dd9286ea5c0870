# SPDX-License-Identifier: GPL-2.0-or-later
"""An address space: the lines of procfs, and under each what the page tables hold."""

from __future__ import annotations

from typing import Final

from pageproof.model import MappedRun, MapsReport, VmaLine, VmaResidency
from pageproof.render import phrases, styles
from pageproof.render.draw.common import draw_head
from pageproof.render.sheet import Fact, Sheet
from pageproof.render.styles import BAD, LABEL

#: Column of the name in procfs: ``seq_setwidth(m, 25 + sizeof(void *) * 6 - 1)``.
_NAME_COLUMN: Final = 72
_LEAVES: Final = {1 << 12: "4K", 1 << 21: "2M", 1 << 30: "1G"}


def draw_maps(report: MapsReport, sheet: Sheet) -> None:
    """Draw the VMAs and what is resident in each; if the sheet is verbose, the ranges too.

    Lines are never folded, as procfs's are not.
    """
    process = report.process
    threads = f"{phrases.plural(process.threads, 'thread')} on mm {phrases.address(process.mm)}"
    head: list[Fact] = [
        ("process", f"{phrases.process(process)}, {threads}"),
        ("tables", f"{phrases.size(report.pgtables_bytes)} below the root 0x{process.root:x}"),
    ]
    if not report.stable:
        head.append(("torn", "the VMAs kept changing while they were read"))
    if report.lost:
        head.append(("missing", f"some VMAs cannot be read: {report.lost}"))
    draw_head(report, sheet, head)
    sheet.gap()
    for vma in report.vmas:
        _vma(vma, sheet)
    if report.outside:
        where = "outside the VMAs that can be read" if report.lost else "outside all VMAs"
        sheet.line(f"mapped {where}", style=BAD, fold=False)
        for run in report.outside:
            _run(run, sheet)
    sheet.line(_total(report), style=styles.of_exit(report.exit_code), fold=False)


def procfs_line(line: VmaLine) -> str:
    """Return a VMA as a line of ``/proc/PID/maps``, without the blank that ends a nameless one."""
    text = (
        f"{line.vma.start:08x}-{line.vma.end:08x} {line.permissions} {line.offset_bytes:08x} "
        f"{line.device_major:02x}:{line.device_minor:02x} {line.inode_number} "
    )
    return f"{text:<{_NAME_COLUMN}} {line.name}" if line.name else text.rstrip()


def _vma(vma: VmaResidency, sheet: Sheet) -> None:
    letters = vma.line.permissions
    style = styles.of_rights(write="w" in letters, execute="x" in letters)
    sheet.line(procfs_line(vma.line), style=style, fold=False)
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
    types = "/".join(vma.memory_types)
    parts = [", ".join(resident) or "nothing resident"]
    parts += [part for part in (", ".join(shares), types) if part]
    parts.append(vma.line.vma.vm_flags_words)
    sheet.line(f"    {'; '.join(parts)}", style=LABEL, fold=False)
    if sheet.verbose:
        for run in vma.runs:
            _run(run, sheet)


def _run(run: MappedRun, sheet: Sheet) -> None:
    length = run.last - run.start + 1
    leaf = _LEAVES.get(run.leaf_bytes, phrases.size(run.leaf_bytes))
    text = f"    {run.start:012x}-{run.last + 1:012x}  {phrases.size(length):>9}  {leaf}"
    if run.frame is None:
        sheet.line(f"{text}  {run.outcome.value}", fold=False)
        return
    memory = "-" if run.memory_type is None else run.memory_type
    text += f"  PFN 0x{run.frame >> 12:x}  {phrases.permissions(run.permissions)}  {memory}"
    sheet.line(text, style=styles.of_access(run.permissions), fold=False)


def _total(report: MapsReport) -> str:
    small = sum(vma.resident_4k_bytes for vma in report.vmas)
    large = sum(vma.resident_2m_bytes for vma in report.vmas)
    huge = sum(vma.resident_1g_bytes for vma in report.vmas)
    return (
        f"{phrases.plural(len(report.vmas), 'VMA')}, {phrases.size(small + large + huge)} resident"
        f": {phrases.size(small)} in 4K, {phrases.size(large)} in 2M, {phrases.size(huge)} in 1G"
    )
