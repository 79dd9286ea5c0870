# SPDX-License-Identifier: GPL-2.0-or-later
"""The frame that a user means: a page of a shared region, an address, or a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pageproof import arch
from pageproof.attach import Target
from pageproof.errors import Exit, PageproofError
from pageproof.find.kernel.expression import UserSide, find_address, kernel_address
from pageproof.find.process.mappings import process_at
from pageproof.find.shared import Claimed, all_finders, by_region, kernel_pages
from pageproof.find.shared.device import DEVICE, device_finder
from pageproof.model import PagingFacts
from pageproof.model.asked import UNSAID, FrameAsked
from pageproof.model.kinds import VDSO
from pageproof.observe.devices import maps_device
from pageproof.observe.search import search_shared
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT
from pageproof.walk import Walker

#: Regions that an error names.
_SHOWN = 8


@dataclass(frozen=True)
class Chosen:
    """A frame.

    Attributes:
        pfn: its number.
        kind: of the region that it belongs to; "" if the user named an address or the frame.
        name: of the region.
        content: C type at its beginning, as the region's finder knows it; "" for none.
        offset: of the address that the user named, in the frame; 0 if they named none.
    """

    pfn: int
    kind: str = ""
    name: str = ""
    content: str = ""
    offset: int = 0


def choose_frame(target: Target, paging: PagingFacts, walker: Walker, asked: FrameAsked) -> Chosen:
    """Find the frame.

    Raises:
        PageproofError: there is none, or there are several regions.
    """
    if asked.pfn is not None:
        if asked.pfn >> arch.of(target.facts.arch).physical_bits - PAGE_SHIFT:
            raise PageproofError("there is no such frame", f"--frame {asked.pfn:x}")
        return Chosen(asked.pfn)
    if asked.kernel is not None:
        address = kernel_address(target.prog, asked.kernel, UserSide()).address
        pfn = _frame_at(walker, paging.kernel_root, address, f"--kernel {asked.kernel}")
        return Chosen(pfn, offset=address % PAGE_BYTES)
    if asked.user is not None and asked.pid is not None:
        return _of_user(target, paging, walker, asked.user, asked.pid)
    return _of_region(target, paging, walker, asked)


def _of_user(
    target: Target, paging: PagingFacts, walker: Walker, user: str | int, pid: int
) -> Chosen:
    address = find_address(target.prog, user)
    process, _ = process_at(target.prog, paging, pid, address)
    pfn = _frame_at(walker, process.root, address, f"--user {user}")
    return Chosen(pfn, offset=address % PAGE_BYTES)


def _frame_at(walker: Walker, root: int, address: int, where: str) -> int:
    walk = walker.walk(root, address)
    if walk.pfn is None:
        raise PageproofError(
            f"this address has no frame ({walk.outcome.value})", where, "", Exit.UNDECIDED
        )
    return walk.pfn


def _of_region(target: Target, paging: PagingFacts, walker: Walker, asked: FrameAsked) -> Chosen:
    # Every process has a vDSO; it is meant only if it is named.
    wanted = asked.kinds or tuple(one.kind for one in all_finders() if one.kind != VDSO)
    finders = tuple(one for one in all_finders() if one.kind in wanted)
    if asked.device and not asked.kinds:
        finders = (*finders, device_finder(asked.device, UNSAID))
    only = maps_device(target, paging, asked.device) if asked.device else None
    found = search_shared(target, paging, finders, asked.pid, only)
    regions = by_region(found.claimed)
    if len(regions) != 1:
        raise _not_one(asked, regions)
    uses = regions[0]
    page = asked.page or 0
    pages = max(one.claim.pages for one in uses)
    if page >= pages:
        raise PageproofError(
            f"the region has {pages} pages, from 0", f"--page {page}", "", Exit.USAGE
        )
    pfn = _kernel_frame(target, paging, walker, uses[0], page)
    if pfn is None:
        pfn = _user_frame(walker, uses, page)
    if pfn is None:
        raise PageproofError(
            f"page {page} of the region has no frame yet",
            uses[0].claim.name,
            "touch it, or choose another with --page",
            Exit.UNDECIDED,
        )
    one = uses[0]
    return Chosen(pfn, one.finder.kind, one.claim.name, one.finder.content(one.claim, page))


def _not_one(asked: FrameAsked, regions: Sequence[Sequence[Claimed]]) -> PageproofError:
    what = asked.device or (f"a region of {', '.join(asked.kinds)}" if asked.kinds else "a region")
    if not regions:
        return PageproofError(
            f"no process maps {what}"
            if asked.pid is None
            else f"pid {asked.pid} does not map {what}",
            "",
            "name an address (--kernel, or --pid and --user) or a frame (--frame)",
            Exit.UNDECIDED,
        )
    some = [
        f"{one.finder.kind} {one.claim.name} (pid {one.mapping.pid})"
        for one, *_ in regions[:_SHOWN]
    ]
    more = f" and {len(regions) - _SHOWN} more" if len(regions) > _SHOWN else ""
    return PageproofError(
        f"there are {len(regions)} regions: {', '.join(some)}{more}",
        "",
        "narrow it with --kind, --pid or --device",
    )


def _kernel_frame(
    target: Target, paging: PagingFacts, walker: Walker, one: Claimed, page: int
) -> int | None:
    if one.finder.kind == DEVICE:
        return None
    try:
        address = kernel_pages(target.prog, one)[page]
    except (ValueError, IndexError):
        return None
    return None if address is None else walker.walk(paging.kernel_root, address).pfn


def _user_frame(walker: Walker, uses: Sequence[Claimed], page: int) -> int | None:
    for one in uses:
        vma = one.mapping.vma
        at = page - one.claim.first_page
        if vma is not None and 0 <= at < vma.pages:
            walk = walker.walk(one.mapping.root, vma.start + at * PAGE_BYTES)
            if walk.pfn is not None:
                return walk.pfn
    return None
