# SPDX-License-Identifier: GPL-2.0-or-later
"""Slab objects, vmalloc areas, ``struct page``."""

from __future__ import annotations

from typing import Final

import drgn
from drgn.helpers.linux.slab import slab_object_info

from pageproof.find.identify.place import Missing, Place
from pageproof.find.identify.symbols import code_words
from pageproof.find.kernel.areas import area_at
from pageproof.find.kernel.layout import physmap
from pageproof.model import Outcome, SlabFacts, SlabState
from pageproof.model.whatis import PageStructFacts, VmapFacts
from pageproof.space.units import PAGE_BYTES

#: ``include/linux/vmalloc.h``, in the words and the order of ``/proc/vmallocinfo``; then those
#: that procfs does not show. They are macros, which DWARF does not have; 5.10 to 7.2 agree.
_VM_FLAGS: Final = (
    (0x1, "ioremap"),
    (0x2, "vmalloc"),
    (0x4, "vmap"),
    (0x8, "user"),
    (0x10, "dma-coherent"),
    (0x1000, "sparse"),
    (0x20, "uninitialized"),
    (0x40, "no-guard"),
    (0x80, "kasan"),
    (0x100, "flush-reset-perms"),
    (0x200, "map-put-pages"),
    (0x400, "allow-huge-vmap"),
)
_VM_NO_GUARD: Final = 0x40


def find_slab(place: Place) -> SlabFacts | None:
    """The slab object of an address in the direct map.

    Raises:
        Missing: a slab without a cache, as zeros in place of left-out memory look.
    """
    return slab_facts(place.prog, place.address) if place.region == "physmap" else None


def slab_at(prog: drgn.Program, address: int) -> SlabFacts | None:
    """The slab object of any address; None where there is none, or it can't be told."""
    try:
        return slab_facts(prog, address) if address in physmap(prog) else None
    except (Missing, drgn.FaultError, LookupError, ValueError):
        return None  # a dump may lack what the cache is made of


def slab_facts(prog: drgn.Program, address: int) -> SlabFacts | None:
    """The slab object of an address, which is in the direct map.

    Raises:
        Missing: a slab without a cache, as zeros in place of left-out memory look.
    """
    info = slab_object_info(prog, address)
    if info is None:
        return None
    if not info.slab_cache:
        raise Missing("the slab has no cache")
    cache = info.slab_cache
    name, slot = cache.name.string_().decode("utf-8", "replace"), cache.size.value_()
    if not name or not slot:
        raise Missing("the slab's cache has no name and no size")
    state = {True: SlabState.ALLOCATED, False: SlabState.FREE, None: SlabState.UNKNOWN}
    return SlabFacts(
        cache=name,
        start=info.address,
        offset_bytes=address - info.address,
        object_bytes=cache.object_size.value_(),
        slot_bytes=slot,
        state=state[info.allocated],
    )


def find_vmap(place: Place) -> VmapFacts | None:
    """The vmalloc area of an address.

    Raises:
        Missing: a page is mapped, and no area is known to have it.
    """
    if place.region not in ("vmalloc", "modules"):
        return None
    area = area_at(place.prog, place.address)
    if not area:
        if place.walk.outcome is Outcome.MAPPED:
            raise Missing("a page is mapped here, and no area is found that has it")
        return None
    start, end = area.va_start.value_(), area.va_end.value_()
    vm = area.vm.read_()
    if not vm:
        return _ram(place, start, end)
    flags = vm.flags.value_()
    caller = vm.caller.value_()
    guarded = not flags & _VM_NO_GUARD
    return VmapFacts(
        start=start,
        end=end,
        offset_bytes=place.address - start,
        guard=guarded and place.address >= end - PAGE_BYTES,
        caller=code_words(place.prog, caller),
        caller_address=caller,
        flags=flags,
        flags_words=vmap_words(flags),
        pages=vm.nr_pages.value_(),
        physical=vm.phys_addr.value_() or None,
    )


def _ram(place: Place, start: int, end: int) -> VmapFacts:
    """``vm_map_ram()`` takes an area and has no ``struct vm_struct`` for it."""
    offset = place.address - start
    return VmapFacts(start, end, offset, False, "vm_map_ram", 0, 0, "vm_map_ram", 0, None)


def vmap_words(flags: int) -> str:
    """Flags of a ``struct vm_struct`` as words; a bit without a name as "bit N"."""
    words = [word for bit, word in _VM_FLAGS if flags & bit]
    known = sum(bit for bit, _ in _VM_FLAGS)
    words += [f"bit {bit}" for bit in range(64) if (flags & ~known) >> bit & 1]
    return "|".join(words)


def find_page_struct(place: Place) -> PageStructFacts | None:
    """The frame whose ``struct page`` has an address."""
    if place.region != "vmemmap":
        return None
    size = place.layout.struct_page_bytes
    pfn, offset = divmod(place.address - place.layout.vmemmap_base, size)
    return PageStructFacts(pfn, place.address - offset, offset)
