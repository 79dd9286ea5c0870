# SPDX-License-Identifier: GPL-2.0-or-later
"""``kmap``: read the kernel's markers, make the rows, walk the tables once, sum up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from pageproof import __version__, arch
from pageproof.attach import Target
from pageproof.find.kernel.layout import read_layout
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.mappings import process_at
from pageproof.judge.conditions import exit_of
from pageproof.judge.kmap import GAVE_UP, UNDECIDED, map_findings
from pageproof.model import Finding, MappingFacts, PagingFacts
from pageproof.model.kmap import KMAP_SCHEMA, KernelMap, LayoutFacts, MapRow
from pageproof.model.where import all_tables
from pageproof.observe.attempts import look_again
from pageproof.observe.ledger import Ledger
from pageproof.observe.walkers import walker_of
from pageproof.walk import TooMuchWork


def kmap(target: Target, pid: int | None, progress: Callable[[str], None]) -> KernelMap:
    """Return the kernel's memory map and what its page tables hold.

    Args:
        target: an attached target.
        pid: the process whose user half and LDT are walked; None for neither.
        progress: called with a message at each step.

    Raises:
        PageproofError: the bounds of the rows are unknown, or there is no such
            process.
    """
    start = time.monotonic()
    paging = read_paging(target.prog)
    layout = read_layout(target.prog, paging)
    mapping = None
    if pid is not None:
        process = partial(process_at, target.prog, paging, pid, 0)
        mapping, _ = look_again(process, live=target.facts.live)
    rows = arch.of(target.facts.arch).memory_map(layout)
    ledger = Ledger(rows)
    walker = walker_of(target, paging, progress=progress)
    findings: list[Finding] = []
    for root, tables, chosen in _walks(rows, paging, layout, mapping):
        for row in chosen:
            ledger.open(row, tables)
        try:
            first, last = chosen[0].start, chosen[-1].last
            for seen in walker.ranges(root, first, last, merged=True):
                ledger.add(seen)
        except TooMuchWork as error:
            findings.append(GAVE_UP.finding(all_tables(tables), why=error))
    filled = ledger.rows()
    findings += map_findings(filled, zero_fills=target.facts.zero_fills)
    undecided = any(finding.id in (GAVE_UP.id, UNDECIDED.id) for finding in findings)
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
        exit_code=exit_of(findings, undecided=undecided),
    )


#: A walk: the topmost table, the name of its owner, and the adjacent rows to walk.
_Walk = tuple[int, str, tuple[MapRow, ...]]


def _walks(
    rows: tuple[MapRow, ...], paging: PagingFacts, layout: LayoutFacts, mapping: MappingFacts | None
) -> Iterator[_Walk]:
    """Yield the tables of each row: init_mm's, except for rows that only others have."""
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
