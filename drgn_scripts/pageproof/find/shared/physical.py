# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel side of memory that is mapped by its physical address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import drgn

from pageproof.errors import PageproofError
from pageproof.find.kernel.areas import VM_IOREMAP, all_areas, read_area
from pageproof.find.kernel.layout import physmap
from pageproof.space.runs import Runs
from pageproof.space.units import PAGE_BYTES


@dataclass(frozen=True)
class _Area:
    """One ioremap() area.

    Attributes:
        frames: its page frames.
        address: kernel address of the first frame.
    """

    frames: range
    address: int


def kernel_sides(prog: drgn.Program, first_pfn: int, pages: int) -> Sequence[int | None]:
    """Return the kernel address of contiguous page frames, from ioremap() areas or the physmap.

    A frame has an address in the physmap even if it is not RAM. Only a walk shows whether it is
    mapped there. A frame after the end of the physmap has no address.

    Raises:
        ValueError: the end of the physmap is not known.
    """
    wanted = range(first_pfn, first_pfn + pages)
    areas = [area for area in _ioremap_areas(prog) if _overlap(area.frames, wanted)]
    try:
        direct = physmap(prog)
    except PageproofError as error:
        raise ValueError(str(error)) from None

    def runs() -> Iterator[tuple[int, int, int]]:
        end = -(-len(direct) // PAGE_BYTES)
        edges = {edge for area in areas for edge in (area.frames.start, area.frames.stop)}
        cuts = sorted({wanted.start, wanted.stop, *(one for one in (end, *edges) if one in wanted)})
        for start, stop in pairwise(cuts):
            address = _address(start, areas, direct)
            if address is not None:
                yield start - first_pfn, stop - start, address

    return Runs(pages, runs())


def _address(pfn: int, areas: Sequence[_Area], direct: range) -> int | None:
    for area in areas:
        if pfn in area.frames:
            return area.address + (pfn - area.frames.start) * PAGE_BYTES
    offset = pfn * PAGE_BYTES
    return direct[offset] if offset < len(direct) else None


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _ioremap_areas(prog: drgn.Program) -> list[_Area]:
    """Return the areas by address. If several map a frame, the lowest one is used."""
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
