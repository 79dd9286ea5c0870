# SPDX-License-Identifier: GPL-2.0-or-later
"""The page cache of a file: all its pages in memory, as runs of contiguous pages."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.mm import compound_head, page_to_virt, pfn_to_page

from pageproof.find.bounded import DamagedError, compound_pages
from pageproof.find.bulk import bulk_of
from pageproof.find.bulk.layout import fields_of
from pageproof.find.bulk.protocol import Field, Run
from pageproof.find.frame.folio import is_cached
from pageproof.find.kernel.debuginfo import of_program
from pageproof.space.units import PAGE_BYTES

#: (first index, number of pages, kernel address of the first).
PageRun = tuple[int, int, int]

#: Value entries, for pages in swap, have bit 0 set (include/linux/xarray.h, xa_is_value()).
_VALUE: Final = 1
#: Pages that are checked at a time.
_BATCH_PAGES: Final = 1 << 16
#: Bit 0 of the word with the head page is set in tail pages.
_TAIL: Final = 1


@dataclass(frozen=True)
class _Layout:
    """The size of ``struct page``, and its members mapping, index and the word with the head."""

    bytes: int
    fields: tuple[Field, ...]


@of_program
def _layout(prog: drgn.Program) -> _Layout:
    page = prog.type("struct page")
    # Since 7.1: "mm: rename the 'compound_head' field in the 'struct page' to 'compound_info'"
    head = "compound_info" if page.has_member("compound_info") else "compound_head"
    # Only folios have an index since 6.16 (acc53a0b4c15).
    member = page if page.has_member("index") else prog.type("struct folio")
    fields = *fields_of(member, "mapping", "index"), *fields_of(page, head)
    return _Layout(drgn.sizeof(page), fields)


def cache_entries(prog: drgn.Program, pages: drgn.Object) -> list[Run]:
    """Return the entries of a file that are pages in memory, merged if their pages adjoin.

    Args:
        prog: the target.
        pages: ``struct xarray *``, ``i_pages`` of the file's mapping.

    Raises:
        DamagedError: some entries are missing.
    """
    head = pages.xa_head.address_
    assert head is not None
    runs, lost = bulk_of(prog).xarray(head, _layout(prog).bytes)
    if lost:
        raise DamagedError(lost)
    return [run for run in runs if not run.entry & _VALUE]


def cached_pages(prog: drgn.Program, pages: drgn.Object) -> list[PageRun]:
    """Return the pages of a file that are in memory, by index.

    The ``struct page`` of each folio must name the file and the index. Otherwise the page is looked
    up by itself, and left out if it was removed from the file meanwhile.

    Args:
        prog: the target.
        pages: ``struct xarray *``, ``i_pages`` of the file's mapping.

    Raises:
        DamagedError: some entries are missing.
        ValueError: a ``struct page`` is damaged.
        FaultError: one cannot be read.
    """
    look = _Look(prog, pages)
    for batch in _batches(cache_entries(prog, pages)):
        look.add(batch)
    return list(_in_order(look.found))


def _batches(runs: Sequence[Run]) -> Iterator[list[tuple[Run, bool]]]:
    """Yield some runs at a time, and whether a run has the same entry as one beside it.

    Before multi-index entries a large folio had the same entry at each of its indices.
    """
    batch: list[tuple[Run, bool]] = []
    pages = 0
    entries = [None, *(run.entry for run in runs), None]
    for run, before, after in zip(runs, entries, entries[2:], strict=False):
        batch.append((run, run.entry in (before, after)))
        pages += run.length
        if pages >= _BATCH_PAGES:
            yield batch
            batch, pages = [], 0
    yield batch


class _Look:
    """Checks pages of one file.

    Attributes:
        found: runs of pages.
    """

    def __init__(self, prog: drgn.Program, pages: drgn.Object) -> None:
        self._prog, self._pages = prog, pages
        self._layout = _layout(prog)
        space = prog.type("struct address_space")
        self._mapping = pages.value_() - drgn.offsetof(space, "i_pages")
        #: A page and its address. Pages and addresses go together (drgn's page_to_pfn()).
        page0 = pfn_to_page(prog, 0)
        self._first = page0.value_(), page_to_virt(page0).value_()
        self._seen: set[int] = set()
        self.found: list[PageRun] = []

    def add(self, batch: Sequence[tuple[Run, bool]]) -> None:
        """Check the pages of runs; those of a run with True are looked up one by one."""
        step = self._layout.bytes
        numbers = array("Q")
        for run, alone in batch:
            if not alone:
                numbers.extend(range(run.entry, run.entry + run.length * step, step))
        rows = bulk_of(self._prog).gather(numbers, self._layout.fields)
        base, columns = 0, [rows.column(number) for number in range(3)]
        for run, alone in batch:
            if alone:
                for number in range(run.length):
                    self._one(run.entry + number * step, run.first + number)
                continue
            self._check(run, base, columns, rows.faults)
            base += run.length

    def _check(
        self, run: Run, base: int, columns: Sequence[list[int]], faults: Container[int]
    ) -> None:
        """Check the pages of a run, whose rows begin at ``base``."""
        mappings, indices, heads = columns
        step = self._layout.bytes
        address = self._first[1] + (run.entry - self._first[0]) // step * PAGE_BYTES
        first = number = 0  # first: of the pages that were checked and are not in found
        while number < run.length:
            row = base + number
            sound = mappings[row] == self._mapping and indices[row] == run.first + number
            if sound and not heads[row] & _TAIL and row not in faults:
                number += 1
                while number < run.length and heads[base + number] & _TAIL:
                    number += 1
                continue
            if first < number:
                self._found(run, first, number, address)
            self._one(run.entry + number * step, run.first + number)
            number += 1
            first = number
        if first < number:
            self._found(run, first, number, address)

    def _found(self, run: Run, first: int, end: int, address: int) -> None:
        self.found.append((run.first + first, end - first, address + first * PAGE_BYTES))

    def _object(self, address: int) -> drgn.Object:
        return drgn.Object(self._prog, "struct page *", address)

    def _one(self, page: int, index: int) -> None:
        """Look up the folio of one page."""
        head = compound_head(self._object(page))
        if head.value_() in self._seen:
            return
        self._seen.add(head.value_())
        if is_cached(head, self._pages, index, (page, head.value_())):
            address = page_to_virt(head).value_()
            self.found.append((head_index(head), compound_pages(head), address))


def _in_order(runs: Iterable[PageRun]) -> Iterator[PageRun]:
    """Sort runs; of overlapping ones, the later part is left out."""
    end = 0
    for first, pages, address in sorted(runs):
        skipped = max(0, end - first)
        if skipped < pages:
            yield first + skipped, pages - skipped, address + skipped * PAGE_BYTES
            end = first + pages


def head_index(head: drgn.Object) -> int:
    """Return ``page->index``, which only folios have since 6.16 (acc53a0b4c15)."""
    try:
        return int(head.index)
    except AttributeError:
        return int(cast("struct folio *", head).index)
