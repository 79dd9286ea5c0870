# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare the mappings of a frame that were found with those that the kernel counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pageproof.arch import Architecture
from pageproof.judge.conditions import (
    FRAME_IS_FREE,
    MAPCOUNT_WRONG,
    MEMORY_TYPE_CONFLICT,
    TASK_UNREADABLE,
    USER_MAPS_SLAB,
    USER_MAPS_STACK,
    USER_MAPS_TABLE,
)
from pageproof.judge.owners import stack_shown
from pageproof.judge.tasks import task_findings
from pageproof.model import AreaOwner, Finding, OwnerKind, Severity, StructPageFacts, TaskFault
from pageproof.model.alias import Alias, SweepGap
from pageproof.model.rule import Rule
from pageproof.model.where import Where, all_tables, frames

SPECIAL: Final = Rule(
    id="special",
    severity=Severity.NOTE,
    sentence="struct page does not count {special} of them because they are special: PFNMAP, the "
    "zero page or similar",
    cause="Software bit 1 is set in these entries, so vm_normal_page() does not treat them as "
    "pages with a struct page.",
    fix="Nothing is wrong.",
    reference="mm/memory.c, vm_normal_page()",
)
MAPCOUNT_MORE: Final = Rule(
    id="mapcount-more",
    severity=Severity.NOTE,
    sentence="struct page counts {mapcount} mappings, {counted} were found: the others are in "
    "address spaces that no task runs on any more, or were replaced by migration entries",
    cause="An mm is being torn down, only a reference keeps an mm, or pages are being migrated.",
    fix="Nothing is wrong.",
    reference="mm/rmap.c",
)
UNCOUNTED: Final = Rule(
    id="uncounted",
    severity=Severity.WARNING,
    sentence="{counted} mappings that the kernel should count, but {why}",
    cause="Ordinary entries lead to a page of a type without a count, or to a frame without a "
    "struct page.",
    fix="A driver maps memory that it must not map, or has freed it: pageproof whatis shows what "
    "it is.",
    reference="include/linux/mm_types.h, struct page",
)
REFCOUNT: Final = Rule(
    id="refcount",
    severity=Severity.ERROR,
    sentence="{references} references for {counted} mappings: the frame may be freed while it is "
    "mapped",
    cause="One put_page() too many.",
    fix="Find the code that drops a reference it does not own (page_owner, page_ref tracepoints).",
    reference="include/linux/page_ref.h",
)
INCOMPLETE: Final = Rule(
    id="incomplete",
    severity=Severity.NOTE,
    sentence="mappings may be missing: there are {why}",
    cause="The dump omits page tables, or they do not end.",
    fix="Use a dump that omits less (makedumpfile -d), or look from outside the guest.",
    reference="makedumpfile(8)",
)
ALIAS_RULES: Final = (
    FRAME_IS_FREE,
    USER_MAPS_STACK,
    USER_MAPS_TABLE,
    USER_MAPS_SLAB,
    MAPCOUNT_WRONG,
    REFCOUNT,
    MEMORY_TYPE_CONFLICT,
    UNCOUNTED,
    TASK_UNREADABLE,
    SPECIAL,
    MAPCOUNT_MORE,
    INCOMPLETE,
)


def doubt_findings(doubts: Iterable[TaskFault | SweepGap]) -> Iterator[Finding]:
    """Report why mappings may be missing."""
    for doubt in doubts:
        if isinstance(doubt, TaskFault):
            yield from task_findings([doubt])
            continue
        why = "more entries than pageproof reads"
        if doubt.unreadable:
            why = "tables that cannot be read"
        yield INCOMPLETE.finding(all_tables(doubt.tables), why=why)


def alias_findings(
    architecture: Architecture,
    pfn: int,
    page: StructPageFacts | None,
    mapcount: int | None,
    aliases: Sequence[Alias],
    area: AreaOwner | None = None,
) -> Iterator[Finding]:
    """Yield findings about a frame's mappings.

    Args:
        architecture: of the target.
        pfn: the frame.
        page: its struct page.
        mapcount: how many mappings the kernel counts; None if it keeps no count.
        aliases: all mappings that were found.
        area: the area of vmalloc space that contains it.
    """
    where = frames(pfn)
    users = [alias for alias in aliases if alias.region is None]
    counted = sum(alias.counted for alias in aliases)
    special = len(users) - counted
    if page is not None and users:
        yield from _wrong_frame(where, page, users)
    if users and area is not None and area.kind is OwnerKind.STACK:
        yield USER_MAPS_STACK.finding(where, stack_shown(area))
    if special:
        yield SPECIAL.finding(where, special=special)
    if mapcount is not None and mapcount > counted:
        yield MAPCOUNT_MORE.finding(where, mapcount=mapcount, counted=counted)
    if mapcount is not None and mapcount < counted:
        shown = ("mappings", str(counted)), ("counted", str(mapcount))
        yield MAPCOUNT_WRONG.finding(where, shown)
    if counted and (page is None or (page.mapcount is None and page.type_words not in _KNOWN)):
        why = "there is no struct page" if page is None else f"the page is {_kind(page)}"
        yield UNCOUNTED.finding(where, counted=counted, why=why)
    small = page is not None and page.head == page.page
    if page is not None and small and mapcount is not None and page.refcount < counted:
        yield REFCOUNT.finding(where, references=page.refcount, counted=counted)
    if len(architecture.effective_types(alias.memory_type for alias in aliases)) > 1:
        types = sorted({alias.memory_type for alias in aliases if alias.memory_type})
        yield MEMORY_TYPE_CONFLICT.finding(where, (("types", ", ".join(types)),))


#: Types that have a rule, and hugetlbfs, where one entry counts for the whole page.
_KNOWN: Final = frozenset({"buddy", "table", "slab", "hugetlb"})


def _wrong_frame(where: Where, page: StructPageFacts, users: Sequence[Alias]) -> Iterator[Finding]:
    """Report frames that no process may map. A slab page is wrong only if an entry is counted."""
    if page.buddy:
        yield FRAME_IS_FREE.finding(where)
    elif page.type_words == "table":
        yield USER_MAPS_TABLE.finding(where)
    elif page.type_words == "slab" and any(alias.counted for alias in users):
        yield USER_MAPS_SLAB.finding(where)


def _kind(page: StructPageFacts) -> str:
    return page.type_words or "of a type without such a count"
