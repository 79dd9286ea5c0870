# SPDX-License-Identifier: GPL-2.0-or-later
"""A finder for /dev/umh_shm by its own data, as the author of a driver would write it."""

from collections.abc import Sequence

import drgn

from pageproof.finders import Claim, Finder

PAGE_BYTES = 4096


def claim(vma: drgn.Object) -> Claim | None:
    region = vma.prog_["umh_shm_region"]
    return Claim(
        owner=region.address_of_().value_(),
        owner_type=region.type_.type_name(),
        part="",
        name="the example's region",
        pages=region.length.value_() // PAGE_BYTES,
        first_page=vma.vm_pgoff.value_(),
    )


def kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    start = prog["umh_shm_region"].kaddr.value_()
    return range(start, start + claim.pages * PAGE_BYTES, PAGE_BYTES)


EXAMPLE = Finder(
    kind="example",
    help="the region of an example",
    operations=("umh_shm_fops",),
    claim=claim,
    kernel_pages=kernel_pages,
)
