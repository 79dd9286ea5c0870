# SPDX-License-Identifier: GPL-2.0-or-later
"""How many user mappings the kernel counts of one page."""

from __future__ import annotations

from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.mm import PageCompound, compound_head, page_to_pfn, pfn_to_page

from pageproof.find.paging import optional_number
from pageproof.model import StructPageFacts

#: ``PG_double_map`` was PG_workingset of the first tail page, until cb67f4282bf9 (6.2).
_DOUBLE_MAP: Final = "PG_double_map"


def page_mapcount(prog: drgn.Program, pfn: int, page: StructPageFacts | None) -> int | None:
    """What the kernel's own ``page_mapcount()`` would say (include/linux/mm.h, mm/internal.h).

    That of a page in a compound one is its own entries' count and the whole's:
    huge leaves count for each page in them.

    Args:
        prog: the target.
        pfn: the frame.
        page: its ``struct page``.

    Returns:
        None where there is no such count: for a typed page (slab, page table …), without
        a struct page, or where the kernel counts large folios as a whole only.
    """
    if page is None or page.mapcount is None:
        return None
    try:
        found = pfn_to_page(prog, pfn)
        if not PageCompound(found):
            return page.mapcount
        return _in_compound(prog, compound_head(found), page.mapcount)
    except drgn.FaultError:
        return None


def _in_compound(prog: drgn.Program, head: drgn.Object, own: int) -> int | None:
    try:
        folio = cast("struct folio *", head)
        # since 6.2: 1aa4d03b0602 ("mm,thp,rmap: handle the normal !PageCompound case first")
        entire = folio._entire_mapcount.counter.value_() + 1
    except (LookupError, AttributeError):
        first_tail = head[1]
        entire = first_tail.compound_mapcount.counter.value_() + 1
        return int(own + entire - _double_mapped(prog, first_tail, entire))
    try:
        # since 6.10: 05c5323b2a34; with CONFIG_NO_PAGE_MAPCOUNT (6.15) it is the only count.
        large = folio._large_mapcount.counter.value_() + 1
    except AttributeError:
        return int(own + entire)
    return None if large > 0 and own + entire <= 0 else int(own + entire)


def _double_mapped(prog: drgn.Program, first_tail: drgn.Object, entire: int) -> int:
    """1 if the pages' own counts include one for all huge leaves together."""
    try:
        bit = prog.constant(_DOUBLE_MAP).value_()
    except LookupError:
        return 0
    return int(entire > 0 and first_tail.flags.value_() >> bit & 1)


def huge_zero_pfn(prog: drgn.Program) -> int | None:
    """First frame of the huge page of zeros; None while there is none."""
    pfn = optional_number(prog, "huge_zero_pfn")  # since 5.11: 3b77e8c8cde5
    if pfn is None:
        try:
            page = prog["huge_zero_page"]
        except LookupError:
            return None
        return int(page_to_pfn(page).value_()) if page else None
    return None if pfn == (1 << 64) - 1 else pfn
