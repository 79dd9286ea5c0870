# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the mappings of a frame that were found are those that the kernel counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from pageproof.model import Finding, Severity, StructPageFacts, Walk
from pageproof.model.alias import Alias

#: ``_PAGE_SPECIAL``, software bit 1: what ``vm_normal_page()`` takes for no page of the kernel's.
_SPECIAL: Final = 1 << 9


def is_counted(walk: Walk, zero_pages: Collection[int]) -> bool:
    """Whether ``_mapcount`` counts a user mapping.

    Args:
        walk: to the frame, in a process's tables.
        zero_pages: frames of the zero page and the huge one, which it never counts.
    """
    return walk.pfn not in zero_pages and not walk.steps[-1].entry & _SPECIAL


def alias_findings(
    pfn: int, page: StructPageFacts | None, mapcount: int | None, aliases: Sequence[Alias]
) -> Iterator[Finding]:
    """What is worth knowing of a frame's mappings.

    Args:
        pfn: the frame.
        page: its struct page.
        mapcount: what the kernel counts.
        aliases: all mappings that were found.
    """
    where = f"PFN {pfn:#x}"
    counted = sum(alias.counted for alias in aliases)
    special = sum(alias.region is None and not alias.counted for alias in aliases)
    if special:
        sentence = (
            f"struct page does not count {special} of them, which are special: PFNMAP, the zero "
            "page or their like"
        )
        yield Finding("special", Severity.NOTE, where, sentence)
    if mapcount is not None and mapcount != counted:
        yield Finding("mapcount", Severity.NOTE, where, _difference(mapcount, counted))
    if mapcount is None and counted:
        why = "there is no struct page" if page is None else f"the page is {_kind(page)}"
        sentence = f"{counted} mappings that the kernel should count, but {why}"
        yield Finding("uncounted", Severity.WARNING, where, sentence)
    small = page is not None and page.head == page.page
    if page is not None and small and mapcount is not None and page.refcount < counted:
        sentence = (
            f"{page.refcount} references for {counted} mappings: the frame may be freed while "
            "it is mapped"
        )
        yield Finding("refcount", Severity.WARNING, where, sentence)
    types = sorted({alias.memory_type.value for alias in aliases if alias.memory_type})
    if len(types) > 1:
        sentence = f"its mappings have memory types that differ: {', '.join(types)}"
        yield Finding("memory-types", Severity.WARNING, where, sentence)


def _kind(page: StructPageFacts) -> str:
    return page.type_words or "of a type that has no such count"


def _difference(mapcount: int, counted: int) -> str:
    text = f"struct page counts {mapcount} mappings, {counted} were found"
    if mapcount > counted:
        return (
            f"{text}: the others are in address spaces that no task runs on any more, or an entry "
            "for migration stands in their place"
        )
    return f"{text}: one was being made or undone, or it is a mapping that should not be"
