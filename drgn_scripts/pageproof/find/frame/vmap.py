# SPDX-License-Identifier: GPL-2.0-or-later
"""All vmalloc areas with the pages that they own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn

from pageproof.find.kernel.areas import all_areas
from pageproof.model.auditfacts import Area

_POINTER_BYTES: Final = 8
#: More pages than an area can have here: a count that makes no sense.
_MOST_PAGES: Final = 1 << 28
_NO_PAGES: Final[tuple[int, ...]] = ()


def vmap_areas(prog: drgn.Program, vmemmap: int, page_bytes: int) -> Iterator[Area]:
    """Every area, in order of address.

    Args:
        prog: the target.
        vmemmap: struct page of frame 0.
        page_bytes: ``sizeof(struct page)``.

    Raises:
        as :func:`all_areas`.
    """
    yield from sorted(
        (_area(prog, area, vmemmap, page_bytes) for area in all_areas(prog)),
        key=lambda area: area.start,
    )


def _area(prog: drgn.Program, area: drgn.Object, vmemmap: int, page_bytes: int) -> Area:
    one = area[0].read_()
    start, end = one.va_start.value_(), one.va_end.value_()
    vm = one.vm
    # vm_map_ram()'s areas have none.
    if not vm:
        return Area(start, end, has_vm=False)
    facts = vm[0].read_()
    return Area(
        start,
        end,
        has_vm=True,
        flags=facts.flags.value_(),
        frames=_frames(prog, facts, vmemmap, page_bytes),
        caller=_name(prog, facts.caller.value_()),
    )


def _frames(prog: drgn.Program, vm: drgn.Object, vmemmap: int, page_bytes: int) -> tuple[int, ...]:
    count, pages = vm.nr_pages.value_(), vm.pages.value_()
    if not count or not pages or count > _MOST_PAGES:
        return _NO_PAGES
    data = memoryview(prog.read(pages, count * _POINTER_BYTES)).cast("Q")
    return tuple((pointer - vmemmap) // page_bytes for pointer in data)


def _name(prog: drgn.Program, address: int) -> str:
    known: dict[int, str] = prog.cache.setdefault("pageproof callers", {})
    if address not in known:
        try:
            known[address] = str(prog.symbol(address).name)
        except LookupError:
            known[address] = f"0x{address:x}"
    return known[address]
