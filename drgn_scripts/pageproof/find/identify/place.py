# SPDX-License-Identifier: GPL-2.0-or-later
"""The input of every question: an address, its row of the memory map, and its walk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import drgn

from pageproof.arch.places import Missing
from pageproof.model import PagingFacts, Walk
from pageproof.model.kmap import LayoutFacts

__all__ = ["Missing", "Place"]


@dataclass(frozen=True)
class Place:
    """An address to identify.

    Attributes:
        prog: the target.
        read_virtual: reads kernel memory (address, length in bytes), or raises MemoryGap.
        region: name of the row of the memory map that contains the address.
        pid: the process whose tables were walked; None for the kernel's own.
        walk: the walk of the page tables for the address.
    """

    prog: drgn.Program
    read_virtual: Callable[[int, int], bytes]
    paging: PagingFacts
    layout: LayoutFacts
    region: str
    address: int
    pid: int | None
    walk: Walk
