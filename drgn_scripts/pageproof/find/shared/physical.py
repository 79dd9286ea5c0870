# SPDX-License-Identifier: GPL-2.0-or-later
"""What memory that is mapped by its physical address has in common: where the kernel has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import drgn

from pageproof.errors import PageproofError
from pageproof.find.kernel.areas import VM_IOREMAP, all_areas, read_area
from pageproof.find.kernel.layout import physmap
from pageproof.find.shared.finder import Lazy
from pageproof.space.units import PAGE_BYTES


@dataclass(frozen=True)
class _Area:
    """What one ioremap() mapped.

    Attributes:
        frames: numbers of its page frames.
        address: where the kernel has the first.
    """

    frames: range
    address: int


def kernel_sides(prog: drgn.Program, first_pfn: int, pages: int) -> Sequence[int | None]:
    """Where the kernel has adjoining page frames: where ioremap() mapped them, else the physmap.

    A frame has an address in the physmap even if it is no RAM. That it is mapped there, only a
    walk can tell; behind the physmap's end, where other regions are, it has none.

    Raises:
        ValueError: the kernel's data does not say where the physmap ends.
    """
    wanted = range(first_pfn, first_pfn + pages)
    areas = [area for area in _ioremap_areas(prog) if _overlap(area.frames, wanted)]
    try:
        direct = physmap(prog)
    except PageproofError as error:
        raise ValueError(str(error)) from None

    def address(page: int) -> int | None:
        pfn = first_pfn + page
        for area in areas:
            if pfn in area.frames:
                return area.address + (pfn - area.frames.start) * PAGE_BYTES
        offset = pfn * PAGE_BYTES
        return direct[offset] if offset < len(direct) else None

    return Lazy(pages, address)


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _ioremap_areas(prog: drgn.Program) -> list[_Area]:
    """In order of addresses, so that of several for one frame it is always the same."""
    return sorted(_ioremaps(all_areas(prog)), key=lambda area: area.address)


def _ioremaps(areas: Iterator[drgn.Object]) -> Iterator[_Area]:
    for one in areas:
        try:
            area = read_area(one)
        except drgn.FaultError:
            continue  # freed during the walk
        # vmap_pfn() also sets VM_IOREMAP, but records no physical address.
        if area.flags & VM_IOREMAP and area.physical:
            pfn = area.physical // PAGE_BYTES
            pages = (area.mapped_end - area.start) // PAGE_BYTES
            yield _Area(range(pfn, pfn + pages), area.start)
