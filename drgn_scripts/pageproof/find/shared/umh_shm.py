# SPDX-License-Identifier: GPL-2.0-or-later
"""The finder of the module umh_shm. Its region has contiguous kernel addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn

from pageproof.find.shared.finder import Claim, Finder, adjoining
from pageproof.find.umh_shm.region import find_region
from pageproof.find.umh_shm.slot import SLOT
from pageproof.model import kinds


def _claim(vma: drgn.Object) -> Claim:
    facts = find_region(vma.prog_).facts
    return Claim(
        owner=facts.kernel_address,
        owner_type="struct umh_shm_region",
        part="",
        name=f"/dev/umh_shm, {facts.backing}, {facts.map}",
        pages=facts.pages,
        first_page=int(vma.vm_pgoff),
    )


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    return adjoining(claim.owner, claim.pages)


UMH_SHM: Final = Finder(
    kind=kinds.UMH_SHM,
    help="the region of pageproof's own module",
    operations=("umh_shm_fops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    linear=("vm_file",),
    content=lambda claim, page: SLOT,  # each page is one
)
