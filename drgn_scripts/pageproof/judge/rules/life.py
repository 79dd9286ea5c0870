# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about the frame itself: whether it still belongs to the region, and who else owns it."""

from __future__ import annotations

from typing import Final

from pageproof.judge.owners import area_words, stack_shown
from pageproof.judge.rules.views import PageView
from pageproof.model import OwnerKind, Severity, SlabState, kinds
from pageproof.model.rule import Rule, Shown
from pageproof.space.units import PAGE_BYTES


def frame_is_free(view: PageView) -> Shown | None:
    for side, page in (("kernel", view.evidence.page), ("user", view.evidence.user_page)):
        if page is not None and page.buddy:
            return ("side", side), ("flags", page.flags_words)
    return None


FRAME_IS_POISONED: Final = Rule(
    id="frame-is-poisoned",
    severity=Severity.ERROR,
    sentence="the memory of this frame has failed (PG_hwpoison): an access raises a machine check",
    cause="The memory is faulty, or the error was injected.",
    fix="Look for the machine check in the kernel's log.",
    reference="mm/memory-failure.c",
)


def frame_is_poisoned(view: PageView) -> Shown | None:
    page = view.evidence.page
    return () if page is not None and page.hwpoison else None


def frame_is_others(view: PageView) -> Shown | None:
    page = view.mapped
    if page is None or not view.same_frame or view.kind == kinds.DEVMEM:
        return None
    area = view.evidence.area
    if area is not None and area.is_strangers:
        return ("owner", area_words(area)), ("flags", page.flags_words)
    if page.mapcount is not None and not page.reserved and page.is_anonymous:
        if view.is_own:
            return None
        owner = "anonymous memory of a process"
    elif view.evidence.cached_file:
        owner = f"the page cache: {view.evidence.cached_file}"
    else:
        return None
    return ("owner", owner), ("flags", page.flags_words)


def user_maps_stack(view: PageView) -> Shown | None:
    """Report a stack whether or not the frame is the region's: stacks must never be shared."""
    area = view.evidence.area
    if view.kind == kinds.DEVMEM or area is None or area.kind is not OwnerKind.STACK:
        return None
    return stack_shown(area)


def user_maps_table(view: PageView) -> Shown | None:
    page = view.mapped
    if page is None or page.type_words != "table" or view.kind == kinds.DEVMEM:
        return None
    return (("table", f"0x{page.page:x}"),)


def shares_slab_page(view: PageView) -> Shown | None:
    """Report a page that contains more than the object at its beginning."""
    slab = view.evidence.slab
    if slab is None or slab.offset_bytes + PAGE_BYTES <= slab.object_bytes:
        return None
    return (
        ("cache", slab.cache),
        ("objects in the page", str(-(-(slab.offset_bytes + PAGE_BYTES) // slab.slot_bytes))),
        ("first object", f"0x{slab.start:x}, {slab.object_bytes} bytes, {slab.state.value}"),
    )


def object_is_free(view: PageView) -> Shown | None:
    slab = view.evidence.slab
    if slab is None or slab.object_bytes < PAGE_BYTES or slab.state is not SlabState.FREE:
        return None
    return (("object", f"0x{slab.start:x} of {slab.cache}"),)


ONLY_MAPPINGS_HOLD_IT: Final = Rule(
    id="only-mappings-hold-it",
    severity=Severity.ERROR,
    sentence="only its mappings hold a reference to the page: when the process unmaps it, it is "
    "freed while the kernel still uses it",
    cause="One put_page() too many, or alloc_pages() with an order and without __GFP_COMP, where "
    "only the first page has the allocation's reference.",
    fix="Use split_page() or __GFP_COMP, and hold one reference for each page.",
    reference="mm/page_alloc.c, split_page()",
)


def only_mappings_hold_it(view: PageView) -> Shown | None:
    """Skip pages of files and anonymous memory, which have other owners."""
    page = view.mapped
    if page is None or page.mapcount is None or not view.same_frame or not view.is_counted:
        return None
    if page.mapping or page.mapcount < 1 or page.refcount > page.mapcount:
        return None
    return ("references", str(page.refcount)), ("mappings", str(page.mapcount))


def mapcount_wrong(view: PageView) -> Shown | None:
    page = view.mapped
    vma = view.mapping.vma
    if page is None or vma is None or page.mapcount is None or not view.is_counted:
        return None
    if page.buddy or page.mapcount > 0:
        return None
    return ("references", str(page.refcount)), ("mappings", str(page.mapcount))
