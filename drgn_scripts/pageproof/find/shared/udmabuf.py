# SPDX-License-Identifier: GPL-2.0-or-later
"""udmabuf: a dma-buf that lists pages of memfds in any order (drivers/dma-buf/udmabuf.c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.mm import page_to_virt

from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.shared.finder import Claim, Finder, UnknownPart, owner_of
from pageproof.space.units import PAGE_BYTES


def _claim(vma: drgn.Object) -> Claim | None:
    buffer = cast("struct dma_buf *", vma.vm_file.private_data)
    exporter = symbol_name(vma.prog_, buffer.ops.value_())
    if exporter != "udmabuf_ops":
        raise UnknownPart(f"a dma-buf of another exporter, {exporter}")
    udmabuf = cast("struct udmabuf *", buffer.priv)
    return Claim(
        owner=udmabuf.value_(),
        owner_type="struct udmabuf",
        part="",
        name="udmabuf",
        pages=int(udmabuf.pagecount),
        first_page=int(vma.vm_pgoff),
    )


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    udmabuf = owner_of(prog, claim)
    try:
        pages = udmabuf.pages  # in the newest kernels, and before 6.11
    except AttributeError:
        # Since 5e72b2b41a21 ("udmabuf: convert udmabuf driver to use folios", 6.11): folios, and an
        # offset into each in bytes.
        return _folio_pages(udmabuf, claim.pages)
    return [page_to_virt(pages[page]).value_() for page in range(claim.pages)]


def _folio_pages(udmabuf: drgn.Object, pages: int) -> list[int | None]:
    return [
        page_to_virt(cast("struct page *", udmabuf.folios[page])).value_()
        + (int(udmabuf.offsets[page]) & -PAGE_BYTES)
        for page in range(pages)
    ]


UDMABUF: Final = Finder(
    kind="udmabuf",
    help="dma-bufs made of memfds",
    operations=("dma_buf_fops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    linear=("vm_file",),
)
