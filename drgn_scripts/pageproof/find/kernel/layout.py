# SPDX-License-Identifier: GPL-2.0-or-later
"""The markers of the kernel's memory map, from the kernel under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from pageproof import arch
from pageproof.find.kernel.image import end_symbol
from pageproof.model import PagingFacts

if TYPE_CHECKING:
    from pageproof.model.kmap import LayoutFacts


def read_layout(prog: drgn.Program, paging: PagingFacts) -> LayoutFacts:
    """Read where the areas of the kernel's half are.

    Raises:
        PageproofError: the kernel's data does not have it.
    """
    return arch.of_program(prog).read_layout(prog, paging, end_symbol(prog, "_end"))


def physmap(prog: drgn.Program) -> range:
    """Return the addresses that the direct map may have, those of physical memory from 0 on.

    Raises:
        PageproofError: the kernel's data does not have it.
    """
    return arch.of_program(prog).physmap(prog)
