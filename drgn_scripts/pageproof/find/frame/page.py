# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel knows about a frame, and content by several routes."""

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

#: ``PAGE_TYPE``'s top byte from 6.12 on (4ffca5a96678) is one of enum pagetype.
_NO_TYPE: Final = 0xFF


def struct_page_facts(
    prog: drgn.Program, pfn: int, lists: FreeLists | None = None
) -> StructPageFacts | None:
    """``struct page`` of a frame; None where there is none, or it is not in the target.

    Args:
        prog: the target.
        pfn: of the frame.
        lists: of free pages; those of this moment if there are none.
    """
    try:
        return _struct_page(prog, pfn, lists or FreeLists(prog))
    except drgn.FaultError:
        return None


def _struct_page(prog: drgn.Program, pfn: int, lists: FreeLists) -> StructPageFacts:
    page = pfn_to_page(prog, pfn)
    # Type, flags and references of a compound page are its head's: in a tail these words hold
    # other things (struct folio of include/linux/mm_types.h), but for PG_hwpoison.
    head = compound_head(page)
    flags = page_flags(head).value_()
    # At once, as the two counts change together: references first when a mapping comes.
    own = page[0].read_()
    whole = own if head == page else head[0].read_()
    mapcount = own._mapcount.counter.value_()
    refcount = whole._refcount.counter.value_()
    typed, words, buddy = _page_type(prog, head)
    if PageSlab(head):
        words, typed = "slab", True
    if not refcount and head == page and (buddy or not typed):
        # Only the first page of a free block is marked, and none on a CPU's list.
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
    """A page flag's bit; 0 where the kernel has no such flag."""
    try:
        return 1 << int(prog.constant(name).value_())
    except LookupError:
        return 0


def _page_type(prog: drgn.Program, page: drgn.Object) -> tuple[bool, str, bool]:
    """(is typed, name of the type, is free in the buddy allocator).

    ``page_type`` shares its word with ``_mapcount``. From 6.12 the type is its
    top byte; before, a bit that is clear under PAGE_TYPE_BASE.
    """
    value = page.page_type.value_() & 0xFFFF_FFFF
    try:
        buddy = prog.constant("PGTY_buddy")
    except LookupError:
        typed = value & OLD_TYPE_BASE == OLD_TYPE_BASE and value != 0xFFFF_FFFF
        # A negative _mapcount that is a small number below -1 is no type.
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
