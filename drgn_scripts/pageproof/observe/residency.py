# SPDX-License-Identifier: GPL-2.0-or-later
"""Assign ranges of page tables to VMAs, and those outside all VMAs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pageproof.arch import Paging
from pageproof.model import (
    GAPS,
    Amount,
    MappedRun,
    MemoryType,
    Outcome,
    Range,
    VmaLine,
    VmaResidency,
)
from pageproof.space.spans import cut
from pageproof.space.units import PAGE_BYTES

#: ``VM_PFNMAP``: pages that the kernel does not count as mapped.
_PFNMAP: Final = 1 << 10


@dataclass(frozen=True)
class Spread:
    """Ranges by VMA, and those outside all VMAs."""

    vmas: tuple[VmaResidency, ...]
    outside: tuple[MappedRun, ...]


def merge(form: Paging, ranges: Iterable[Range]) -> Iterator[MappedRun]:
    """Merge ranges that are adjacent in virtual and physical memory; skip empty entries.

    Args:
        form: of the page tables.
        ranges: in order of address.
    """
    last: MappedRun | None = None
    for one in ranges:
        if one.outcome is Outcome.NONE:
            continue
        run = MappedRun(
            start=one.start,
            last=one.last,
            leaf_bytes=form.level(one.level).bytes,
            outcome=one.outcome,
            frame=one.frame,
            permissions=one.permissions,
            memory_type=one.memory_type,
        )
        if last is not None and _goes_on(last, run):
            last = replace(last, last=run.last)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last


def _goes_on(last: MappedRun, run: MappedRun) -> bool:
    if last.last + 1 != run.start:
        return False
    expected = None if last.frame is None else last.frame + run.start - last.start
    return replace(last, start=run.start, last=run.last, frame=expected) == run


def spread(form: Paging, lines: Sequence[VmaLine], ranges: Iterable[Range]) -> Spread:
    """Return what each VMA has in memory.

    Args:
        form: of the page tables.
        lines: in order of address, not overlapping.
        ranges: in order of address; a range that crosses a VMA's end is cut there.
    """
    inside: list[list[Range]] = [[] for _ in lines]
    outside: list[Range] = []
    number = 0
    for one in ranges:
        at: int | None = one.start
        while at is not None:
            while number < len(lines) and lines[number].vma.end <= at:
                number += 1
            vma = lines[number].vma if number < len(lines) else None
            if vma is not None and vma.start <= at:
                stop = min(one.last, vma.end - 1)
                inside[number].append(cut(one, at, stop))
            else:
                stop = one.last if vma is None else min(one.last, vma.start - 1)
                outside.append(cut(one, at, stop))
            at = stop + 1 if stop < one.last else None
    return Spread(
        tuple(_residency(form, line, held) for line, held in zip(lines, inside, strict=True)),
        tuple(merge(form, outside)),
    )


def _residency(form: Paging, line: VmaLine, ranges: Sequence[Range]) -> VmaResidency:
    resident: Counter[int] = Counter()
    other: Counter[Outcome] = Counter()
    types: dict[MemoryType, None] = {}
    for one in ranges:
        length = one.last - one.start + 1
        if one.frame is not None:
            resident[one.level] += length
            if one.memory_type is not None:
                types[one.memory_type] = None
        elif one.outcome is not Outcome.NONE:
            other[one.outcome] += length
    return VmaResidency(
        line=line,
        resident_4k_bytes=resident[1],
        resident_2m_bytes=resident[2],
        resident_1g_bytes=resident[3],
        private_bytes=0,
        shared_bytes=0,
        other=tuple(Amount(outcome, length) for outcome, length in other.items()),
        memory_types=tuple(types),
        runs=tuple(merge(form, ranges)),
    )


def counted_runs(vma: VmaResidency) -> Iterator[MappedRun]:
    """Yield the runs whose pages have a mapcount that distinguishes shared from private."""
    if vma.line.vma.vm_flags & _PFNMAP:
        return
    for run in vma.runs:
        if run.frame is not None and run.leaf_bytes == PAGE_BYTES:
            yield run


def with_mapcounts(vma: VmaResidency, mapcounts: Iterable[int]) -> VmaResidency:
    """Count shared pages, from the mapcounts of the pages of :func:`counted_runs`."""
    counts = Counter("private" if count == 1 else "shared" for count in mapcounts if count > 0)
    return replace(
        vma,
        private_bytes=counts["private"] * PAGE_BYTES,
        shared_bytes=counts["shared"] * PAGE_BYTES,
    )


def has_gaps(found: Spread) -> bool:
    """Return whether a table could not be read, so that mappings may be missing."""
    runs = (*found.outside, *(run for vma in found.vmas for run in vma.runs))
    return any(run.outcome in GAPS for run in runs)
