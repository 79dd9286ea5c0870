# SPDX-License-Identifier: GPL-2.0-or-later
"""/dev/mem: all of physical memory (drivers/char/mem.c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn

from pageproof import arch
from pageproof.find.shared.finder import Claim, Finder, not_private
from pageproof.find.shared.physical import kernel_sides
from pageproof.model import kinds
from pageproof.space.units import PAGE_BYTES


def _claim(vma: drgn.Object) -> Claim | None:
    """Use the offset as the physical address (``mmap_mem()``, ``mmap_mem_prepare()`` in 7.2)."""
    not_private(vma)
    prog = vma.prog_
    end = arch.of_program(prog).physical_end(prog)
    return Claim(
        owner=prog["iomem_resource"].address_of_().value_(),
        owner_type="struct resource",
        part="",
        name="physical memory",
        pages=end // PAGE_BYTES,
        first_page=int(vma.vm_pgoff),
    )


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    return kernel_sides(prog, 0, claim.pages)


DEVMEM: Final = Finder(
    kind=kinds.DEVMEM,
    help="physical memory, mapped through /dev/mem",
    operations=("mem_fops", "mmap_mem_ops"),
    claim=_claim,
    kernel_pages=_kernel_pages,
    linear=("vm_flags",),
)
