# SPDX-License-Identifier: GPL-2.0-or-later
"""``kmap``: read the kernel's markers, lay out the rows, walk the tables once, sum up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from pageproof import __version__
from pageproof.errors import Exit
from pageproof.find.layout import read_layout
from pageproof.find.mappings import mapping_at
from pageproof.find.paging import read_paging
from pageproof.judge.kmap import Ledger, map_findings, memory_map
from pageproof.model import Finding, MappingFacts, PagingFacts, Range, Severity
from pageproof.model.kmap import KMAP_SCHEMA, KernelMap, LayoutFacts, MapRow
from pageproof.target import Target
from pageproof.walk import PAGE_BYTES, Paging, ReadPhysical, TooMuchWork, walk_range

#: Entries that one walk may read; a kernel's half has some ten thousand for a GiB of memory.
MAX_ENTRIES: Final = 1 << 26
#: Progress is told after the first second, and then this often.
_PROGRESS_SECONDS: Final = 0.2


def kmap(target: Target, pid: int | None, progress: Callable[[str], None]) -> KernelMap:
    """The kernel's memory map and what its page tables hold.

    Args:
        target: an attached target.
        pid: whose user half and LDT to look at; None for neither.
        progress: told what is being done.

    Raises:
        PageproofError: the kernel does not say where its regions are, or there
            is no such process.
    """
    start = time.monotonic()
    paging = read_paging(target.prog)
    layout = read_layout(target.prog, paging)
    mapping = None if pid is None else mapping_at(target.prog, paging, pid, 0)
    rows = memory_map(layout)
    ledger = Ledger(rows)
    sweep = _Sweep(target, paging, start, progress)
    findings: list[Finding] = []
    for root, tables, chosen in _walks(rows, paging, layout, mapping):
        for row in chosen:
            ledger.open(row, tables)
        try:
            for seen in sweep.ranges(root, chosen[0].start, chosen[-1].last):
                ledger.add(seen)
        except TooMuchWork as error:
            findings.append(Finding("gave-up", Severity.WARNING, tables, str(error)))
    filled = ledger.rows()
    findings += map_findings(filled, zero_fills=target.facts.zero_fills)
    undecided = any(finding.id in ("gave-up", "undecided") for finding in findings)
    return KernelMap(
        schema=KMAP_SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        layout=layout,
        pid=mapping.pid if mapping else None,
        comm=mapping.comm if mapping else None,
        rows=filled,
        findings=tuple(findings),
        seconds=round(time.monotonic() - start, 3),
        exit_code=Exit.UNDECIDED if undecided else Exit.SOUND,
    )


#: A walk: the topmost table, whose it is, and the rows that are walked, next to each other.
_Walk = tuple[int, str, tuple[MapRow, ...]]


def _walks(
    rows: tuple[MapRow, ...], paging: PagingFacts, layout: LayoutFacts, mapping: MappingFacts | None
) -> Iterator[_Walk]:
    """Each row's tables: init_mm's, but for what is in others only."""
    special: dict[str, tuple[int, str]] = {}
    if mapping is not None:
        special["user"] = mapping.root, f"pid {mapping.pid}"
        special["ldt"] = mapping.kernel_half_root, f"pid {mapping.pid}"
    if layout.efi_root is not None:
        special["efi"] = layout.efi_root, "efi_mm"
    usual: list[MapRow] = []
    for row in rows:
        if row.region in special or row.region in ("user", "non-canonical"):
            if usual:
                yield paging.kernel_root, "init_mm", tuple(usual)
                usual = []
            if row.region in special:
                yield *special[row.region], (row,)
        else:
            usual.append(row)
    if usual:
        yield paging.kernel_root, "init_mm", tuple(usual)


class _Sweep:
    """Walks ranges, reading each table once, and says where it is when it takes long."""

    def __init__(
        self, target: Target, paging: PagingFacts, start: float, progress: Callable[[str], None]
    ) -> None:
        self._read = _by_page(target.reader.read_physical)
        self._form = Paging(
            levels=paging.levels,
            sme_mask=paging.sme_mask,
            pat=paging.pat,
            swap=paging.swap,
            zero_fills=target.facts.zero_fills,
        )
        self._progress = progress
        self._next = start + 1

    def ranges(self, root: int, first: int, last: int) -> Iterator[Range]:
        for seen in walk_range(self._read, root, first, last, self._form, max_entries=MAX_ENTRIES):
            now = time.monotonic()
            if now >= self._next:
                self._progress(f"walking the page tables, at {seen.start:016x}")
                self._next = now + _PROGRESS_SECONDS
            yield seen


def _by_page(read_physical: ReadPhysical) -> ReadPhysical:
    """Read whole pages and keep the last few: a walk goes back to the tables above it."""
    kept: dict[int, bytes] = {}

    def read(paddr: int, length: int) -> bytes:
        page = paddr & -PAGE_BYTES
        if page not in kept:
            data = read_physical(page, PAGE_BYTES)
            while len(kept) >= 8:
                del kept[next(iter(kept))]
            kept[page] = data
        else:
            kept[page] = kept.pop(page)
        return kept[page][paddr - page : paddr - page + length]

    return read
