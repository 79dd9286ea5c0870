# SPDX-License-Identifier: GPL-2.0-or-later
"""The content of a page, read by several routes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import drgn
from drgn.helpers.linux.mm import access_remote_vm

from pageproof import arch
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.kernel.image import image_ends
from pageproof.find.process.vmas import mm_object
from pageproof.model import MemoryGap, PagingFacts, Route, RouteContent
from pageproof.space.units import ADDRESS_LAST, PAGE_BYTES, PAGE_SHIFT


def is_plain_ram(prog: drgn.Program, paging: PagingFacts, pfn: int) -> bool:
    """Return whether ``/proc/kcore`` gives a frame's own bytes.

    It gives zeros for offline and poisoned pages and for frames that are not RAM
    (``read_kcore_iter()`` of fs/proc/kcore.c). A frame that is not RAM has no struct page or a
    reserved one. Some RAM has a reserved one too: the kernel's image is the part that is known.
    """
    page = struct_page_facts(prog, pfn)
    if page is None or page.hwpoison or page.type_words == "offline":
        return False
    return not page.reserved or pfn in _image(prog, paging)


def _image(prog: drgn.Program, paging: PagingFacts) -> range:
    """Return the frames of the kernel's image."""
    # phys_base is modulo 2**64: KASLR may put the image below the address it was linked for.
    linked = arch.of_program(prog).image_map
    return range(
        *(
            (end - linked + paging.phys_base & ADDRESS_LAST) >> PAGE_SHIFT
            for end in image_ends(prog)
        )
    )


def read_user_virtual(
    prog: drgn.Program, mm: int, address: int, fault: Callable[[Exception], MemoryGap]
) -> bytes:
    """Read one page through a user virtual address, translated by drgn.

    Args:
        prog: the target.
        mm: address of ``struct mm_struct``.
        address: start of the page.
        fault: makes a MemoryGap of drgn's error.

    Raises:
        MemoryGap: the page cannot be read.
    """
    try:
        return access_remote_vm(mm_object(prog, mm), address, PAGE_BYTES)
    except drgn.FaultError as error:
        raise fault(error) from None


def content_by(route: Route, read: Callable[[], bytes]) -> RouteContent:
    """Return the SHA-256 digest of the bytes that one route gives, or why it gives none."""
    try:
        data = read()
    except MemoryGap as gap:
        return RouteContent(route, None, False, f"{gap.outcome.value}: {gap}")
    return RouteContent(route, hashlib.sha256(data).hexdigest(), not any(data))
