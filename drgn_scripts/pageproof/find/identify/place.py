# SPDX-License-Identifier: GPL-2.0-or-later
"""What every finder is given: an address, where it lies, and where its walk ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import drgn

from pageproof.model import PagingFacts, Walk
from pageproof.model.kmap import LayoutFacts


class Missing(Exception):
    """An answer that should be there and is not: the question stays open."""


@dataclass(frozen=True)
class Place:
    """An address to be identified.

    Attributes:
        prog: the target.
        read_virtual: reads kernel memory, or raises MemoryGap.
        region: the name of the row of the memory map that it is in.
        pid: whose tables were asked for; None for the kernel's own.
        walk: through the page tables that map it.
    """

    prog: drgn.Program
    read_virtual: Callable[[int, int], bytes]
    paging: PagingFacts
    layout: LayoutFacts
    region: str
    address: int
    pid: int | None
    walk: Walk
