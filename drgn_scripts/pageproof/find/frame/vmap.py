# SPDX-License-Identifier: GPL-2.0-or-later
"""All vmalloc areas and the pages in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn

from pageproof.find.kernel.areas import VmapArea, all_areas, read_area
from pageproof.find.kernel.symbols import symbol_name
from pageproof.model.auditfacts import Area

_POINTER_BYTES: Final = 8
#: A larger count of pages (1 TiB) is not valid.
_MOST_PAGES: Final = 1 << 28
_NO_PAGES: Final[tuple[int, ...]] = ()


def vmap_areas(prog: drgn.Program, vmemmap: int, page_bytes: int) -> Iterator[Area]:
    """Yield every area, in order of address.

    Args:
        prog: the target.
        vmemmap: address of struct page of frame 0.
        page_bytes: ``sizeof(struct page)``.

    Raises:
        as :func:`all_areas`.
    """
    yield from sorted(
        (_area(prog, area, vmemmap, page_bytes) for area in all_areas(prog)),
        key=lambda area: area.start,
    )


def _area(prog: drgn.Program, area: drgn.Object, vmemmap: int, page_bytes: int) -> Area:
    one = read_area(area)
    return Area(
        one.start,
        one.end,
        has_vm=one.has_vm,
        flags=one.flags,
        frames=_frames(prog, one, vmemmap, page_bytes),
        caller=symbol_name(prog, one.caller) if one.has_vm else "",
    )


def _frames(prog: drgn.Program, area: VmapArea, vmemmap: int, page_bytes: int) -> tuple[int, ...]:
    if not area.nr_pages or not area.pages or area.nr_pages > _MOST_PAGES:
        return _NO_PAGES
    data = memoryview(prog.read(area.pages, area.nr_pages * _POINTER_BYTES)).cast("Q")
    return tuple((pointer - vmemmap) // page_bytes for pointer in data)
