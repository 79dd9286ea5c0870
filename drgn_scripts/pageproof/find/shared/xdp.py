# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP's four rings: descriptors received and to send, buffers to fill and completed."""

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
    behind_the_end,
    not_private,
    owner_of,
)
from pageproof.space.units import PAGE_BYTES

AF_XDP: Final = 44
#: Parts by offset in the file, divided by ``_PART_PAGES`` (``XDP_PGOFF_*`` and ``XDP_UMEM_PGOFF_*``
#: of include/uapi/linux/if_xdp.h).
_PARTS: Final = ("rx", "tx", "fill", "completion")
_PART_PAGES: Final = 0x8000_0000 // PAGE_BYTES


def _claim(vma: drgn.Object) -> Claim | None:
    """Return the ring of an offset, as in ``xsk_mmap()`` of net/xdp/xsk.c.

    The ring's queue is the owner, because sockets that share buffers share the queues of these.
    """
    sk = cast("struct socket *", vma.vm_file.private_data).sk
    if not sk or int(sk.__sk_common.skc_family) != AF_XDP:
        return None
    # In a private mapping remap_pfn_range() replaces vm_pgoff by a frame number (mm/memory.c).
    not_private(vma)
    number, page = divmod(int(vma.vm_pgoff), _PART_PAGES)
    if number >= len(_PARTS):
        raise UnknownPart(f"offset {int(vma.vm_pgoff) * PAGE_BYTES:#x} of the file")
    part = _PARTS[number]
    queue = _queue(cast("struct xdp_sock *", sk), part)
    if not queue:
        # A mapped ring stays until its socket is closed.
        raise ValueError(f"the socket has no {part} ring")
    pages = _pages(queue)
    if page >= pages:
        raise behind_the_end(f"its {part} ring")
    return Claim(
        owner=queue.value_(),
        owner_type="struct xsk_queue",
        part=part,
        name=f"AF_XDP {part} ring of {int(queue.nentries)} descriptors",
        pages=pages,
        first_page=page,
    )


def _queue(sock: drgn.Object, part: str) -> drgn.Object:
    """Return the ``struct xsk_queue *`` of a part; NULL if the socket has none."""
    if part in ("rx", "tx"):
        return sock.member_(part)
    short = {"fill": "fq", "completion": "cq"}[part]
    # bind() moves these two from the socket to the pool, which other sockets may share.
    return sock.pool.member_(short) if sock.pool else sock.member_(f"{short}_tmp")


def _pages(queue: drgn.Object) -> int:
    try:
        # Since 6.3: 9f78bf330a66 ("xsk: support use vaddr as ring").
        return int(queue.ring_vmalloc_size) // PAGE_BYTES
    except AttributeError:
        # mmap() may map the whole compound page.
        return compound_pages(compound_head(virt_to_page(queue.ring)))


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return contiguous addresses, of vmalloc() or in the direct map."""
    queue = owner_of(prog, claim)
    pages = _pages(queue)
    if pages != claim.pages:
        raise ValueError(f"the ring has {pages} pages now, and it had {claim.pages} before")
    return adjoining(queue.ring.value_(), claim.pages)


XDP: Final = Finder(
    kind="xdp",
    help="rings of AF_XDP sockets",
    operations=("socket_file_ops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
)
