# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the mappings of a frame that were found are those that the kernel counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from pageproof.model import Finding, Severity, StructPageFacts, Walk
from pageproof.model.alias import Alias
from pageproof.model.rule import Rule

#: ``_PAGE_SPECIAL``, software bit 1: what ``vm_normal_page()`` takes for no page of the kernel's.
_SPECIAL: Final = 1 << 9


SPECIAL: Final = Rule(
    "special",
    Severity.NOTE,
    "struct page does not count {special} of them, which are special: PFNMAP, the zero page or "
    "their like",
    "Entries with software bit 1 set: vm_normal_page() takes them for no page of the kernel's.",
    "Nothing is wrong.",
    "mm/memory.c, vm_normal_page()",
)
MAPCOUNT_MORE: Final = Rule(
    "mapcount-more",
    Severity.NOTE,
    "struct page counts {mapcount} mappings, {counted} were found: the others are in address "
    "spaces that no task runs on any more, or an entry for migration stands in their place",
    "An mm that is being torn down, or one that is kept by a reference only; migration.",
    "Nothing is wrong.",
    "mm/rmap.c",
)
MAPCOUNT_LESS: Final = Rule(
    "mapcount-less",
    Severity.NOTE,
    "struct page counts {mapcount} mappings, {counted} were found: one was being made or undone, "
    "or it is a mapping that should not be",
    "A live target moves; if it stays, an entry was written by hand.",
    "Look again. If it stays, ask pageproof audit.",
    "mm/rmap.c",
)
UNCOUNTED: Final = Rule(
    "uncounted",
    Severity.WARNING,
    "{counted} mappings that the kernel should count, but {why}",
    "Ordinary entries that lead to a page whose struct page has no count: slab, page table, free.",
    "A driver maps what it must not map, or freed it: pageproof whatis tells what it is.",
    "include/linux/mm_types.h, struct page",
)
REFCOUNT: Final = Rule(
    "refcount",
    Severity.WARNING,
    "{references} references for {counted} mappings: the frame may be freed while it is mapped",
    "A put_page() too many.",
    "Find who drops a reference that is not his (page_owner, page_ref tracepoints).",
    "include/linux/page_ref.h",
)
MEMORY_TYPES: Final = Rule(
    "memory-types",
    Severity.WARNING,
    "its mappings have memory types that differ: {types}",
    "One alias was mapped uncached or write-combining and the others were left.",
    "Change all aliases, or none.",
    "Intel SDM volume 3A, 12.12.4; Documentation/arch/x86/pat.rst",
)
TASK: Final = Rule(
    "task",
    Severity.NOTE,
    "it could not be searched: {message}",
    "It was exiting, its data changed while it was read, or the dump lacks it.",
    "Look again, or stop the guest for the look.",
    "include/linux/sched.h, struct task_struct",
)
INCOMPLETE: Final = Rule(
    "incomplete",
    Severity.NOTE,
    "mappings may be missing: there are {why}",
    "The dump lacks tables, or they do not end.",
    "A dump with less left out (makedumpfile -d), or a look from outside.",
    "makedumpfile(8)",
)
ALIAS_RULES: Final = (
    SPECIAL,
    MAPCOUNT_MORE,
    MAPCOUNT_LESS,
    UNCOUNTED,
    REFCOUNT,
    MEMORY_TYPES,
    TASK,
    INCOMPLETE,
)


def is_special(walk: Walk) -> bool:
    """Whether the entry that a walk ended at, with a frame, says that no struct page counts it."""
    return bool(walk.steps[-1].entry & _SPECIAL)


def is_counted(walk: Walk, zero_pages: Collection[int]) -> bool:
    """Whether ``_mapcount`` counts a user mapping.

    Args:
        walk: to the frame, in a process's tables.
        zero_pages: frames of the zero page and the huge one, which it never counts.
    """
    return walk.pfn not in zero_pages and not is_special(walk)


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
        yield SPECIAL.finding(where, special=special)
    if mapcount is not None and mapcount != counted:
        rule = MAPCOUNT_MORE if mapcount > counted else MAPCOUNT_LESS
        yield rule.finding(where, mapcount=mapcount, counted=counted)
    if mapcount is None and counted:
        why = "there is no struct page" if page is None else f"the page is {_kind(page)}"
        yield UNCOUNTED.finding(where, counted=counted, why=why)
    small = page is not None and page.head == page.page
    if page is not None and small and mapcount is not None and page.refcount < counted:
        yield REFCOUNT.finding(where, references=page.refcount, counted=counted)
    types = sorted({alias.memory_type.value for alias in aliases if alias.memory_type})
    if len(types) > 1:
        yield MEMORY_TYPES.finding(where, types=", ".join(types))


def _kind(page: StructPageFacts) -> str:
    return page.type_words or "of a type that has no such count"
