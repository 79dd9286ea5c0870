# SPDX-License-Identifier: GPL-2.0-or-later
"""memfd, tmpfs and System V shared memory: files whose pages are only in memory and swap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.mm import compound_head, page_to_virt
from drgn.helpers.linux.xarray import xa_is_value

from pageproof.find.bounded import compound_pages, xa_entries
from pageproof.find.frame.folio import is_cached
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.paths import path_of
from pageproof.find.shared.finder import Claim, Finder, Runs, is_shared, owner_of
from pageproof.space.units import PAGE_BYTES

#: With these operations the VMA's file leads through ``struct shm_file_data`` (ipc/shm.c) to the
#: file with the pages. ``shm_file_operations_huge`` leads to a file of hugetlbfs.
_SYSV: Final = "shm_file_operations"


def claim_of_file(vma: drgn.Object, sysv: str) -> Claim | None:
    """Return the file in memory that a VMA maps; None for a private mapping.

    Args:
        vma: ``struct vm_area_struct *``.
        sysv: name of the file operations of System V shared memory for this kind of file.
    """
    if not is_shared(vma):
        return None
    file = vma.vm_file
    if symbol_name(vma.prog_, file.f_op.value_()) == sysv:
        file = cast("struct shm_file_data *", file.private_data).file
    inode = file.f_inode
    name = path_of(file).dentry.d_name.name.string_().decode("utf-8", "replace")
    return Claim(
        owner=inode.value_(),
        owner_type="struct inode",
        part="",
        name=name,
        pages=-(-int(inode.i_size) // PAGE_BYTES),
        first_page=int(vma.vm_pgoff),
    )


def _claim(vma: drgn.Object) -> Claim | None:
    return claim_of_file(vma, _SYSV)


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return the addresses in the direct map, the only place where the kernel maps the pages."""
    xarray = owner_of(prog, claim).i_mapping.i_pages.address_of_()
    pages: dict[int, int] = {}
    seen: set[int] = set()
    for index, entry in xa_entries(xarray):
        if xa_is_value(entry):
            continue  # swapped out
        # A large folio has one entry, or (before multi-index entries) one for each page. Every
        # entry is the head.
        head = compound_head(cast("struct page *", entry))
        if head.value_() in seen:
            continue
        seen.add(head.value_())
        if not is_cached(head, xarray, index, entry):
            continue
        first, address = head_index(head), page_to_virt(head).value_()
        for number in range(compound_pages(head)):
            if first + number < claim.pages:
                pages[first + number] = address + number * PAGE_BYTES
    return Runs.by_page(claim.pages, pages)


def head_index(head: drgn.Object) -> int:
    """Return ``page->index``, which only folios have since 6.16 (acc53a0b4c15)."""
    try:
        return int(head.index)
    except AttributeError:
        return int(cast("struct folio *", head).index)


SHMEM: Final = Finder(
    kind="shmem",
    help="memfd, shared tmpfs files and System V shared memory",
    operations=("shmem_file_operations", _SYSV),
    claim=_claim,
    kernel_pages=_kernel_pages,
)
