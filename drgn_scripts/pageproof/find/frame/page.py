# SPDX-License-Identifier: GPL-2.0-or-later
"""``struct page`` of a frame."""

from __future__ import annotations

from typing import Final

import drgn
from drgn.helpers.linux.mm import (
    PageCompound,
    PageSlab,
    compound_head,
    page_flags,
    pfn_to_page,
)

from pageproof.find.frame.flags import flag_names
from pageproof.find.frame.free import FreeLists
from pageproof.find.frame.pagetype import OLD_BUDDY, OLD_OFFLINE, OLD_TYPE_BASE, old_table
from pageproof.model import StructPageFacts

#: Top byte of ``page_type`` since 6.12 (4ffca5a96678) for a page without a type; other values are
#: those of enum pagetype.
_NO_TYPE: Final = 0xFF


def struct_page_facts(
    prog: drgn.Program, pfn: int, lists: FreeLists | None = None
) -> StructPageFacts | None:
    """Read ``struct page`` of a frame; None if there is none or the target does not have it.

    Args:
        prog: the target.
        pfn: the frame.
        lists: the free lists; by default they are read now.
    """
    try:
        return _struct_page(prog, pfn, lists or FreeLists(prog))
    except drgn.FaultError:
        return None


def _struct_page(prog: drgn.Program, pfn: int, lists: FreeLists) -> StructPageFacts:
    page = pfn_to_page(prog, pfn)
    # The head has the type, flags and references of a compound page. A tail page uses these words
    # for other things (struct folio of include/linux/mm_types.h), except PG_hwpoison.
    head = compound_head(page)
    flags = page_flags(head).value_()
    # Read both counts at once: they change together, and a new mapping takes its reference first.
    own = page[0].read_()
    whole = own if head == page else head[0].read_()
    mapcount = own._mapcount.counter.value_()
    refcount = whole._refcount.counter.value_()
    typed, words, buddy = _page_type(prog, head)
    if PageSlab(head):
        words, typed = "slab", True
    if not refcount and head == page and (buddy or not typed):
        # Only the first page of a free block is marked, and no page on a CPU's list is.
        buddy = lists.block(pfn) is not None
    typed = typed or buddy
    mapping = 0 if typed else whole.mapping.value_()
    names = flag_names(prog, flags, mapping, buddy=buddy)
    if page_flags(page).value_() & _flag(prog, "PG_hwpoison") and "hwpoison" not in names:
        names.append("hwpoison")
    return StructPageFacts(
        page=page.value_(),
        flags=flags,
        flags_words="|".join(names),
        type_words=words,
        refcount=refcount,
        mapcount=None if typed else mapcount + 1,
        head=head.value_(),
        reserved="reserved" in names,
        hwpoison="hwpoison" in names,
        buddy=buddy,
        compound=bool(PageCompound(page)),
        mapping=mapping,
    )


def _flag(prog: drgn.Program, name: str) -> int:
    """Return the mask of a page flag; 0 if the kernel does not have it."""
    try:
        return 1 << int(prog.constant(name).value_())
    except LookupError:
        return 0


def _page_type(prog: drgn.Program, page: drgn.Object) -> tuple[bool, str, bool]:
    """Return (has a type, name of the type, is free in the buddy allocator).

    ``page_type`` shares its word with ``_mapcount``. Since 6.12 the type is the top byte. Before,
    it is a cleared bit below PAGE_TYPE_BASE.
    """
    value = page.page_type.value_() & 0xFFFF_FFFF
    try:
        buddy = prog.constant("PGTY_buddy")
    except LookupError:
        typed = value & OLD_TYPE_BASE == OLD_TYPE_BASE and value != 0xFFFF_FFFF
        # A _mapcount slightly below -1 is not a type.
        typed = typed and value & 0x0FFF_0000 == 0x0FFF_0000
        if not typed:
            return False, "", False
        words = ((OLD_BUDDY, "buddy"), (OLD_OFFLINE, "offline"), (old_table(prog), "table"))
        word = next((word for bit, word in words if not value & bit), "typed")
        return True, word, word == "buddy"
    top = value >> 24
    if not buddy.value_() <= top < _NO_TYPE:
        return False, "", False
    for enumerator in buddy.type_.enumerators or ():
        if enumerator.value == top:
            name = enumerator.name.removeprefix("PGTY_").replace("_", " ")
            return True, name, top == buddy.value_()
    return True, f"type {top:#x}", False
