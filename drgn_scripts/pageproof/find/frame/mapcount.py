# SPDX-License-Identifier: GPL-2.0-or-later
"""How many user mappings of a page the kernel counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn
from drgn import cast, offsetof, sizeof
from drgn.helpers.linux.mm import (
    PageCompound,
    compound_head,
    compound_nr,
    page_to_pfn,
    pfn_to_page,
)

from pageproof.find.frame.flags import MAPPING_ANON
from pageproof.find.kernel.paging import optional_number
from pageproof.model import StructPageFacts

#: ``PG_double_map`` was PG_workingset of the first tail page, until cb67f4282bf9 (6.2).
_DOUBLE_MAP: Final = "PG_double_map"


def page_mapcount(prog: drgn.Program, pfn: int, page: StructPageFacts | None) -> int | None:
    """Return the result of the kernel's ``page_mapcount()`` (include/linux/mm.h, mm/internal.h).

    For a page of a compound page it is the page's own count plus the count of the whole: a huge
    leaf counts for every page that it maps.

    Args:
        prog: the target.
        pfn: the frame.
        page: its ``struct page``.

    Returns:
        None if there is no such count: for a typed page (slab, page table …, but not hugetlb),
        without a struct page, or if the kernel only counts large folios as a whole.
    """
    if page is None:
        return None
    own = page.mapcount
    if own is None:
        if page.type_words != "hugetlb":
            return None
        own = 0  # PGTY_hugetlb uses the word of the count; only the whole is counted
    try:
        found = pfn_to_page(prog, pfn)
        if not PageCompound(found):
            return own
        return _in_compound(prog, compound_head(found), own)
    except drgn.FaultError:
        return None


def _in_compound(prog: drgn.Program, head: drgn.Object, own: int) -> int | None:
    try:
        folio = cast("struct folio *", head)
        # In older kernels it is compound_mapcount of the first tail page.
        entire = folio._entire_mapcount.counter.value_() + 1
    except (LookupError, AttributeError):
        first_tail = head[1]
        entire = first_tail.compound_mapcount.counter.value_() + 1
        if not head.mapping.value_() & MAPPING_ANON:
            # The count of a file's page includes the entries that map the whole. Pages of hugetlbfs
            # have no count of their own.
            return int(max(own, entire))
        return int(own + entire - _double_mapped(prog, first_tail, entire))
    try:
        # since 6.10: 05c5323b2a34; with CONFIG_NO_PAGE_MAPCOUNT (6.15) it is the only count.
        large = folio._large_mapcount.counter.value_() + 1
    except AttributeError:
        return int(own + entire)
    return None if large > 0 and own + entire <= 0 else int(own + entire)


def _double_mapped(prog: drgn.Program, first_tail: drgn.Object, entire: int) -> int:
    """Return 1 if each page's own count includes one for all huge leaves together."""
    try:
        bit = prog.constant(_DOUBLE_MAP).value_()
    except LookupError:
        return 0
    return int(entire > 0 and first_tail.flags.value_() >> bit & 1)


def read_mapcounts(prog: drgn.Program, pfn: int, pages: int) -> tuple[int, ...]:
    """Return how many entries map each of several frames (``folio_precise_page_mapcount()``).

    ``struct page`` counts the entries that map the page alone. Entries that map the whole of a
    large folio are counted in the folio. Before 6.2 (cb67f4282bf9) a page that is mapped in both
    ways has one more in its own count (PG_double_map). The result is then too large, but it is
    still clear that the page is mapped more than once.

    Args:
        prog: the target.
        pfn: the first frame.
        pages: number of frames.

    Returns:
        One number for each frame; 0 or less for a typed page and for a page without a count.
        Empty if the target does not have these frames.
    """
    kind = prog.type("struct page")
    offset = offsetof(kind, "_mapcount")
    size = sizeof(kind)
    try:
        data = prog.read(pfn_to_page(prog, pfn).value_(), pages * size)
    except drgn.FaultError:
        return ()
    fields = (data[at : at + 4] for at in range(offset, len(data), size))
    counts = [int.from_bytes(field, "little", signed=True) + 1 for field in fields]
    try:
        for first, stop, whole in _large_folios(prog, pfn, data):
            counts[first:stop] = [count + whole for count in counts[first:stop]]
    except drgn.FaultError:
        return ()
    return tuple(counts)


def _large_folios(prog: drgn.Program, pfn: int, data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the large folios among consecutive frames.

    Args:
        prog: the target.
        pfn: the first frame.
        data: ``struct page`` of each frame.

    Yields:
        Index of the folio's first frame, index after its last frame, and how many entries map the
        folio as a whole.
    """
    try:
        if not prog.type("struct folio").has_member("_entire_mapcount"):
            return
    except LookupError:
        return
    kind = prog.type("struct page")
    # Since 7.1 (d50569612c29) it is not always the head's address. Bit 0 still marks a tail page.
    link = "compound_info" if kind.has_member("compound_info") else "compound_head"
    offset, size = offsetof(kind, link), sizeof(kind)
    head_flag = 1 << prog.constant("PG_head").value_()
    index, pages = 0, len(data) // size
    while index < pages:
        at = index * size
        flags, linked = (int.from_bytes(data[n : n + 8], "little") for n in (at, at + offset))
        if not (flags & head_flag or linked & 1):
            index += 1
            continue
        head = compound_head(pfn_to_page(prog, pfn + index))
        stop = page_to_pfn(head).value_() + compound_nr(head).value_() - pfn
        stop = max(index + 1, min(stop, pages))
        yield index, stop, cast("struct folio *", head)._entire_mapcount.counter.value_() + 1
        index = stop


def huge_zero_pfn(prog: drgn.Program) -> int | None:
    """Return the first frame of the huge zero page; None if it is not allocated."""
    pfn = optional_number(prog, "huge_zero_pfn")  # since 5.13: 3b77e8c8cde5
    if pfn is None:
        try:
            page = prog["huge_zero_page"]
        except LookupError:
            return None
        return int(page_to_pfn(page).value_()) if page else None
    return None if pfn == (1 << 64) - 1 else pfn
