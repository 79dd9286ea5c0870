# SPDX-License-Identifier: GPL-2.0-or-later
"""io_uring: the two rings, which are one region, and the submission entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.mm import compound_head, virt_to_page

from pageproof.find.bounded import compound_pages
from pageproof.find.shared.finder import (
    Claim,
    Finder,
    UnknownPart,
    adjoining,
    begins_with,
    behind_the_end,
    not_private,
    owner_of,
)
from pageproof.space.units import PAGE_BYTES

_RINGS: Final = "rings"
_SQES: Final = "sqes"
#: Parts by offset in the file, divided by ``_PART_BYTES`` (``IORING_OFF_*`` of
#: include/uapi/linux/io_uring.h).
_PARTS: Final = {0: _RINGS, 1: _RINGS, 2: _SQES}
#: Parts at higher offsets, since 6.4 (c56e022c0a27), 6.13 (dfbbfbf19187) and
#: 6.15 (11ed914bbf94).
_OTHERS: Final = {
    0x8000_0000: "a ring of provided buffers, group {}",
    0x2000_0000: "a region of parameters",
    0x3000_0000: "a region of zero-copy receive",
}
#: ``IORING_OFF_PBUF_SHIFT``.
_GROUP_SHIFT: Final = 16
#: The lowest bit of ``IORING_OFF_MMAP_MASK``. The bits below it are a page number only in the rest
#: of a VMA that was split: mmap() always starts with the first page.
_PART_BYTES: Final = 0x0800_0000


def _claim(vma: drgn.Object) -> Claim | None:
    # In a private mapping remap_pfn_range() replaces vm_pgoff by a frame number (mm/memory.c).
    not_private(vma)
    number, offset = divmod(int(vma.vm_pgoff) * PAGE_BYTES, _PART_BYTES)
    part = _PARTS.get(number)
    if part is None:
        raise UnknownPart(_unknown(number * _PART_BYTES, offset))
    ctx = cast("struct io_ring_ctx *", vma.vm_file.private_data)
    _, pages = _memory(ctx, part)
    page = offset // PAGE_BYTES
    if page >= pages:
        raise behind_the_end(f"its {part}")
    return Claim(
        owner=ctx.value_(),
        owner_type="struct io_ring_ctx",
        part=part,
        name=f"io_uring of {int(ctx.sq_entries)} submissions, {int(ctx.cq_entries)} completions",
        pages=pages,
        first_page=page,
    )


def _unknown(part: int, offset: int) -> str:
    """Return the name of the part at an offset in the file."""
    words = _OTHERS.get(part, f"offset {part + offset:#x} of the file")
    return words.format(offset >> _GROUP_SHIFT)


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return contiguous addresses, in the direct map or of vmap()."""
    ctx = owner_of(prog, claim)
    first, _ = _memory(ctx, claim.part)
    return adjoining(first, claim.pages)


def _memory(ctx: drgn.Object, part: str) -> tuple[int, int]:
    """Return the kernel address of a region and its size in pages."""
    try:
        # Since 6.14: 81a4058e0cd0 ("io_uring: use region api for CQ") and the commit before it.
        region = ctx.ring_region if part == _RINGS else ctx.sq_region
        return region.ptr.value_(), int(region.nr_pages)
    except AttributeError:
        pass
    address = (ctx.rings if part == _RINGS else ctx.sq_sqes).value_()
    try:
        # Since 6.10, and in older stable kernels: 3ab1db3c6039 ("io_uring: get rid of
        # remap_pfn_range() for mapping rings/sqes").
        return address, int(ctx.n_ring_pages if part == _RINGS else ctx.n_sqe_pages)
    except AttributeError:
        # mmap() may map the whole compound page (io_uring_validate_mmap_request()).
        head = compound_head(virt_to_page(ctx.prog_, address))
        return address, compound_pages(head)


IO_URING: Final = Finder(
    kind="io_uring",
    help="rings and submission entries of io_uring",
    operations=("io_uring_fops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    content=begins_with("struct io_rings", _RINGS),
)
