# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel side that a finder gives, walked page by page beside the user side."""

from collections.abc import Collection

from attached import View

from pageproof.find.shared import FINDERS, Claimed, find_shared, kernel_pages
from pageproof.walk import PAGE_BYTES


def claimed_at(view: View, kind: str, pid: int, address: int) -> Claimed:
    """What the finder of a kind makes of the VMA of a process that starts at an address."""
    (finder,) = (one for one in FINDERS if one.kind == kind)
    found = find_shared(view.target.prog, view.paging, [finder], pid)
    assert not found.unclaimed, found.unclaimed
    assert not found.faults, found.faults
    starts = {one.mapping.vma.start: one for one in found.claimed if one.mapping.vma}
    assert address in starts, f"{kind}: nothing at {address:#x}: {sorted(map(hex, starts))}"
    return starts[address]


def same_frames(view: View, one: Claimed, touched: Collection[int]) -> None:
    """Both sides lead to one frame, in every page of the VMA that has one.

    Args:
        touched: pages of the VMA that were touched: they have a frame for sure.
    """
    assert one.mapping.vma is not None
    sides = kernel_pages(view.target.prog, one)
    assert len(sides) == one.claim.pages
    pages = (one.mapping.vma.end - one.mapping.vma.start) // PAGE_BYTES
    seen = set()
    for number in range(pages):
        user = view.engine.walk(one.mapping.root, one.mapping.vma.start + number * PAGE_BYTES)
        if user.pfn is None:
            continue
        seen.add(number)
        address = sides[one.claim.first_page + number]
        assert address is not None, f"page {number} of {one.claim.name} has no kernel side"
        kernel = view.engine.walk(view.paging.kernel_root, address)
        assert kernel.pfn == user.pfn, f"page {number} of {one.claim.name}"
    assert set(touched) <= seen, f"{one.claim.name}: touched {touched}, mapped {seen}"
