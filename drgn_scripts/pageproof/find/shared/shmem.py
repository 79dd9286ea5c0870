# SPDX-License-Identifier: GPL-2.0-or-later
"""memfd, tmpfs and System V shared memory: files whose pages are only in memory and swap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast

from pageproof.find.frame.cache import cached_pages
from pageproof.find.kernel.symbols import symbol_name
from pageproof.find.process.paths import path_of
from pageproof.find.shared.finder import Claim, Finder, Runs, is_shared, owner_of
from pageproof.find.strings import text_of
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
    name = text_of(path_of(file).dentry.d_name.name)
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
    return Runs(claim.pages, cached_pages(prog, xarray))


SHMEM: Final = Finder(
    kind="shmem",
    help="memfd, shared tmpfs files and System V shared memory",
    operations=("shmem_file_operations", _SYSV),
    claim=_claim,
    kernel_pages=_kernel_pages,
    linear=("vm_file", "vm_flags"),
)
