# SPDX-License-Identifier: GPL-2.0-or-later
"""hugetlbfs: files, memfds and System V shared memory of huge pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn.helpers.linux.mm import page_to_virt

from pageproof.find.bounded import compound_pages
from pageproof.find.frame.cache import cache_entries
from pageproof.find.frame.folio import is_cached
from pageproof.find.shared.finder import Claim, Finder, Runs, owner_of
from pageproof.find.shared.shmem import claim_of_file

_SYSV: Final = "shm_file_operations_huge"


def _claim(vma: drgn.Object) -> Claim | None:
    return claim_of_file(vma, _SYSV)


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return the addresses in the direct map."""
    xarray = owner_of(prog, claim).i_mapping.i_pages.address_of_()
    page_bytes = drgn.sizeof(prog.type("struct page"))
    found: list[tuple[int, int, int]] = []
    for run in cache_entries(prog, xarray):
        done = 0
        while done < run.length:
            entry = run.entry + done * page_bytes
            head = drgn.Object(prog, "struct page *", entry)
            number = 1
            if is_cached(head, xarray, run.first + done, (entry,)):
                number = compound_pages(head)
                # Before 6.7 (a08c7193e4f1) the index counts huge pages, and each is one entry.
                first = run.first + done if run.length > 1 else run.first * number
                found.append((first, number, page_to_virt(head).value_()))
            done += number
    return Runs(claim.pages, sorted(found))


HUGETLB: Final = Finder(
    kind="hugetlb",
    help="files of hugetlbfs, memfds and System V shared memory of its huge pages",
    operations=("hugetlbfs_file_operations", _SYSV),
    claim=_claim,
    kernel_pages=_kernel_pages,
    linear=("vm_file", "vm_flags"),
)
