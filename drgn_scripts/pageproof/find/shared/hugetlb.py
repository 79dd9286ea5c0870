# SPDX-License-Identifier: GPL-2.0-or-later
"""hugetlbfs: files, memfds and System V shared memory of huge pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast
from drgn.helpers.linux.mm import page_to_virt
from drgn.helpers.linux.xarray import xa_is_value

from pageproof.find.bounded import compound_pages, xa_entries, xa_load
from pageproof.find.frame.folio import is_cached
from pageproof.find.shared.finder import Claim, Finder, Runs, owner_of
from pageproof.find.shared.shmem import claim_of_file
from pageproof.space.units import PAGE_BYTES

_SYSV: Final = "shm_file_operations_huge"


def _claim(vma: drgn.Object) -> Claim | None:
    return claim_of_file(vma, _SYSV)


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return the addresses in the direct map."""
    pages: dict[int, int] = {}
    xarray = owner_of(prog, claim).i_mapping.i_pages.address_of_()
    for index, entry in xa_entries(xarray):
        if xa_is_value(entry):
            continue
        head = cast("struct page *", entry)
        if not is_cached(head, xarray, index, entry):
            continue
        number, address = compound_pages(head), page_to_virt(head).value_()
        # Before 6.7 (a08c7193e4f1) the index counts huge pages, and each is one entry.
        first = index if xa_load(xarray, index ^ 1) == entry else index * number
        for page in range(number):
            pages[first + page] = address + page * PAGE_BYTES
    return Runs.by_page(claim.pages, pages)


HUGETLB: Final = Finder(
    kind="hugetlb",
    help="files of hugetlbfs, memfds and System V shared memory of its huge pages",
    operations=("hugetlbfs_file_operations", _SYSV),
    claim=_claim,
    kernel_pages=_kernel_pages,
)
