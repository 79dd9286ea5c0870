# SPDX-License-Identifier: GPL-2.0-or-later
"""The completion ring that io_setup() maps into a process: pages of an internal file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast, container_of
from drgn.helpers.linux.mm import page_to_virt

from pageproof.find.shared.finder import (
    Claim,
    Finder,
    UnknownPart,
    begins_with,
    behind_the_end,
    owner_of,
)


def _claim(vma: drgn.Object) -> Claim | None:
    """Return the region of the file's context.

    The process cannot be used: on many kernels a child maps the ring of its parent after fork().
    """
    ctx = _context(vma.vm_file.f_inode)
    if not ctx or ctx.aio_ring_file != vma.vm_file:
        # put_aio_ring_file() of fs/aio.c.
        raise UnknownPart("a ring that io_destroy() has detached from its context")
    pages, page = int(ctx.nr_pages), int(vma.vm_pgoff)
    if page >= pages:
        raise behind_the_end("its ring")
    return Claim(
        owner=ctx.value_(),
        owner_type="struct kioctx",
        part="",
        name=f"aio ring of {int(ctx.nr_events)} events",
        pages=pages,
        first_page=page,
    )


def _context(inode: drgn.Object) -> drgn.Object:
    """Return ``struct kioctx *`` of a ring's inode."""
    try:
        # 3833d335d7be ("aio: Stop using i_private_data and i_private_lock")
        return container_of(inode, "struct aio_inode_info", "vfs_inode").ctx
    except LookupError:
        mapping = inode.i_mapping
    try:
        private = mapping.i_private_data
    except AttributeError:  # before 6.8: 600f111ef51d ("fs: Rename mapping private members")
        private = mapping.private_data
    return cast("struct kioctx *", private)


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return the addresses in the direct map, the only place where the kernel maps the pages."""
    ctx = owner_of(prog, claim)
    try:
        ring = ctx.ring_folios  # since 6.11: "fs: aio: convert to ring_folios and internal_folios"
    except AttributeError:
        ring = ctx.ring_pages
    pages = [cast("struct page *", ring[number]) for number in range(claim.pages)]
    return [page_to_virt(page).value_() if page else None for page in pages]


AIO: Final = Finder(
    kind="aio",
    help="completion rings of asynchronous I/O (io_setup)",
    operations=("aio_ring_fops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    content=begins_with("struct aio_ring"),
)
