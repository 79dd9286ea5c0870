# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about a mapping whose frames are not the region's: in which way they are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pageproof.judge.rules.views import Differing, FramesView
from pageproof.judge.words import page_list
from pageproof.model import Finding, Severity
from pageproof.model.rule import Rule
from pageproof.model.where import in_process

#: Limit of pages that a finding shows with both frames.
_SHOWN: Final = 4

ZERO_PAGE: Final = Rule(
    id="zero-page",
    severity=Severity.ERROR,
    sentence="the zero page is mapped in place of the region's {pages}: the process always reads "
    "zeros, whatever the kernel writes",
    cause="A fault handler maps ZERO_PAGE for a page that does not exist yet, or the mapping is "
    "private and was read before it was written.",
    fix="Map the region's page, or return SIGBUS; unmap the zero page when the region's page is "
    "allocated.",
    reference="mm/memory.c, do_anonymous_page(); include/linux/mm.h, ZERO_PAGE()",
)
PRIVATE_COPY: Final = Rule(
    id="private-copy",
    severity=Severity.ERROR,
    sentence="the process has a copy of its own of {pages}: neither side sees the other's writes "
    "any more",
    cause="The mapping is private (MAP_PRIVATE): the first write makes an anonymous copy of the "
    "page. A debugger that sets a breakpoint does the same.",
    fix="In mmap(): if (!(vma->vm_flags & VM_SHARED)) return -EINVAL.",
    reference="mm/memory.c, do_wp_page() and do_cow_fault()",
)
TAKEN_FOR_CONTIGUOUS: Final = Rule(
    id="taken-for-contiguous",
    severity=Severity.ERROR,
    sentence="the frames that follow the first page's frame in physical memory are mapped at "
    "{pages}, but the region's frames are elsewhere: the process reads and writes memory of other "
    "owners",
    cause="vmalloc() memory was mapped as if it were contiguous: one remap_pfn_range() from the "
    "first page's frame on, or virt_to_phys() of a vmalloc address.",
    fix="Use remap_vmalloc_range(), or vmalloc_to_pfn() for each page.",
    reference="mm/vmalloc.c, remap_vmalloc_range(); Documentation/core-api/mm-api.rst",
)
OFF_BY_ONE: Final = Rule(
    id="off-by-one",
    severity=Severity.ERROR,
    sentence="the {side} page of the region is mapped at each of {pages}: the whole mapping is one "
    "page off",
    cause="vm_pgoff is counted twice or ignored, a header page of the region is forgotten, or "
    "fault() computes a page number that is one too high.",
    fix="vmf->pgoff counts pages from the file's beginning; vma->vm_pgoff is the mapping's first "
    "one.",
    reference="include/linux/mm_types.h, struct vm_area_struct; include/linux/mm.h, struct "
    "vm_fault",
)
WRONG_ORDER: Final = Rule(
    id="wrong-order",
    severity=Severity.ERROR,
    sentence="other pages of the same region are mapped at {pages}: they are in the wrong order",
    cause="The index into the array of pages is not the mapping's: it counts down, by CPU, or in "
    "the order in which pages were touched.",
    fix="Map page vmf->pgoff of the region at vmf->pgoff of the file.",
    reference="mm/memory.c, vm_insert_pages()",
)
WRONG_FRAME: Final = Rule(
    id="wrong-frame",
    severity=Severity.ERROR,
    sentence="frames that do not belong to the region are mapped at {pages}: the process does not "
    "see the memory that the kernel shares",
    cause="The region was reallocated while it was mapped, mmap() used a stale or wrong address, "
    "or something else was mapped over it.",
    fix="Unmap (unmap_mapping_range()) before the region's pages are replaced.",
    reference="mm/memory.c, unmap_mapping_range()",
)


def frame_findings(view: FramesView) -> Iterator[Finding]:
    """Yield one finding for each way in which frames are wrong, with the pages."""
    vma = view.mapping.vma
    private = vma is not None and not vma.has_flag("MAYSHARE")
    zeros = [one for one in view.different if one.zeros]
    copies = [one for one in view.different if not one.zeros and one.anonymous and private]
    explained = {one.page for one in (*zeros, *copies)}
    rest = [one for one in view.different if one.page not in explained]
    yield from _told(view, ZERO_PAGE, zeros)
    yield from _told(view, PRIVATE_COPY, copies)
    if not rest:
        return
    places = {pfn: page for page, pfn in view.frames.items()}
    if _is_contiguous(view, rest) and any(one.user_pfn not in places for one in rest):
        yield from _told(view, TAKEN_FOR_CONTIGUOUS, rest)
        return
    side = _side(view, rest, places)
    if side:
        yield from _told(view, OFF_BY_ONE, rest, side=side)
        return
    yield from _told(view, WRONG_ORDER, [one for one in rest if one.user_pfn in places])
    yield from _told(view, WRONG_FRAME, [one for one in rest if one.user_pfn not in places])


def _is_contiguous(view: FramesView, rest: Sequence[Differing]) -> bool:
    first = view.frames.get(0)
    return first is not None and all(one.user_pfn == first + one.page for one in rest)


def _side(view: FramesView, rest: Sequence[Differing], places: dict[int, int]) -> str:
    """Return which neighbour each page is, or ""; the page at the region's edge may have none."""
    moved = {places[one.user_pfn] - one.page for one in rest if one.user_pfn in places}
    if view.same or moved not in ({1}, {-1}):
        return ""
    side, edge = ("next", max(view.frames)) if moved == {1} else ("previous", min(view.frames))
    strangers = [one.page for one in rest if one.user_pfn not in places]
    return side if strangers in ([], [edge]) else ""


def _told(
    view: FramesView, rule: Rule, pages: Sequence[Differing], **words: str
) -> Iterator[Finding]:
    if not pages:
        return
    vma = view.mapping.vma
    yield rule.finding(
        in_process(view.mapping.pid, vma.start if vma else None, region=view.name),
        tuple(_frames(view, one) for one in pages[:_SHOWN]),
        pages=page_list([one.page for one in pages]),
        **words,
    )


def _frames(view: FramesView, one: Differing) -> tuple[str, str]:
    ours = view.frames.get(one.page)
    region = "none" if ours is None else f"0x{ours:x}"
    return f"page {one.page}", f"the user's frame 0x{one.user_pfn:x}, the region's {region}"


FRAME_RULES: Final = (
    ZERO_PAGE,
    PRIVATE_COPY,
    TAKEN_FOR_CONTIGUOUS,
    OFF_BY_ONE,
    WRONG_ORDER,
    WRONG_FRAME,
)
