# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the kernel object at an address ends. The memory after it belongs to something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import drgn
from drgn.helpers.linux.mm import (
    PageCompound,
    PageReserved,
    PageSlab,
    compound_head,
    compound_order,
    page_to_virt,
    virt_to_page,
)

from pageproof import arch
from pageproof.errors import PageproofError
from pageproof.find.frame.ram import system_ram
from pageproof.find.identify.memory import slab_at
from pageproof.find.kernel.areas import area_at
from pageproof.find.kernel.layout import physmap
from pageproof.space.units import PAGE_BYTES

_BROKEN: Final = (drgn.FaultError, LookupError, AttributeError, ValueError, PageproofError)


@dataclass(frozen=True)
class Extent:
    """An object of the kernel.

    Attributes:
        end: address of the first page after it.
        words: what it is, for people.
    """

    end: int
    words: str


def extent_of(prog: drgn.Program, address: int) -> Extent | None:
    """Return the object at an address; None if the kernel does not record its size.

    Recorded are slab objects of a page or more, compound pages (large kmalloc()), vmalloc areas and
    variables. Rules about pages report what else is in the page of a smaller slab object. A block
    of alloc_pages() without __GFP_COMP has no recorded size.
    """
    for find in (_slab, _compound, _variable, _area):
        try:
            found = find(prog, address)
        except _BROKEN:
            continue  # the dump omits it, or it changed while it was read
        if found is not None and found.end > address:
            return found
    return None


def _pages_end(end: int) -> int:
    return -(-end // PAGE_BYTES) * PAGE_BYTES


def _slab(prog: drgn.Program, address: int) -> Extent | None:
    slab = slab_at(prog, address)
    if slab is None or slab.object_bytes < PAGE_BYTES:
        return None
    words = f"object of {slab.object_bytes} bytes at {slab.start:#x}, slab cache {slab.cache}"
    return Extent(_pages_end(slab.start + slab.object_bytes), words)


def _compound(prog: drgn.Program, address: int) -> Extent | None:
    """Return the compound page of RAM at an address.

    Device memory consists of compound pages of huge-page size, which are not objects.
    """
    if address not in physmap(prog):
        return None
    page = virt_to_page(prog, address)
    if not PageCompound(page) or PageSlab(compound_head(page)) or PageReserved(page):
        return None
    physical = address - physmap(prog).start
    if not any(span.start <= physical < span.end for span in system_ram(prog)):
        return None
    head = compound_head(page)
    start, size = page_to_virt(head).value_(), PAGE_BYTES << int(compound_order(head))
    return Extent(start + size, f"compound page of {size // PAGE_BYTES} pages at {start:#x}")


def _variable(prog: drgn.Program, address: int) -> Extent | None:
    if address < arch.of_program(prog).image_map:
        return None
    symbol = prog.symbol(address)
    if symbol.kind is not drgn.SymbolKind.OBJECT or not symbol.size:
        return None
    words = f"variable {symbol.name} of {symbol.size} bytes at {symbol.address:#x}"
    return Extent(_pages_end(symbol.address + symbol.size), words)


def _area(prog: drgn.Program, address: int) -> Extent | None:
    if address in physmap(prog):
        return None
    area = area_at(prog, address)
    if area is None:
        return None
    pages = (area.mapped_end - area.start) // PAGE_BYTES
    return Extent(area.mapped_end, f"vmalloc area of {pages} pages at {area.start:#x}")
