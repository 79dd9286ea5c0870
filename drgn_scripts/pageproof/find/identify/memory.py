# SPDX-License-Identifier: GPL-2.0-or-later
"""Slab objects, vmalloc areas, ``struct page``."""

from __future__ import annotations

from typing import Final

import drgn
from drgn.helpers.linux.slab import slab_object_info

from pageproof.find.identify.place import Missing, Place
from pageproof.find.kernel import areas
from pageproof.find.kernel.layout import physmap
from pageproof.find.kernel.symbols import code_words
from pageproof.find.strings import text_of
from pageproof.model import Outcome, SlabFacts, SlabState
from pageproof.model.whatis import PageStructFacts, VmapFacts

#: Words of ``/proc/vmallocinfo`` in its order (``s_show()`` of mm/vmalloc.c), then words for the
#: flags that it does not show.
_VM_FLAGS: Final = (
    (areas.VM_IOREMAP, "ioremap"),
    (areas.VM_ALLOC, "vmalloc"),
    (areas.VM_MAP, "vmap"),
    (areas.VM_USERMAP, "user"),
    (areas.VM_DMA_COHERENT, "dma-coherent"),
    (areas.VM_SPARSE, "sparse"),
    (areas.VM_UNINITIALIZED, "uninitialized"),
    (areas.VM_NO_GUARD, "no-guard"),
    (areas.VM_KASAN, "kasan"),
    (areas.VM_FLUSH_RESET_PERMS, "flush-reset-perms"),
    (areas.VM_MAP_PUT_PAGES, "map-put-pages"),
    (areas.VM_ALLOW_HUGE_VMAP, "allow-huge-vmap"),
)


def find_slab(place: Place) -> SlabFacts | None:
    """Return the slab object at an address in the direct map.

    Raises:
        Missing: as :func:`slab_facts`.
    """
    return slab_facts(place.prog, place.address) if place.region == "physmap" else None


def slab_at(prog: drgn.Program, address: int) -> SlabFacts | None:
    """Return the slab object at any address; None if there is none or it cannot be read."""
    try:
        return slab_facts(prog, address) if address in physmap(prog) else None
    except (Missing, drgn.FaultError, LookupError, ValueError):
        return None  # a dump may omit the slab cache


def slab_facts(prog: drgn.Program, address: int) -> SlabFacts | None:
    """Return the slab object at an address, which must be in the direct map.

    Raises:
        Missing: the slab has no cache. It looks like that if a dump gives zeros for omitted memory.
    """
    info = slab_object_info(prog, address)
    if info is None:
        return None
    if not info.slab_cache:
        raise Missing("the slab has no cache")
    cache = info.slab_cache
    name, slot = text_of(cache.name), cache.size.value_()
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
    """Return the vmalloc area of an address.

    An area of ``vm_map_ram()`` has no ``struct vm_struct``, and only its name is known.

    Raises:
        Missing: a page is mapped, but no area contains it.
    """
    if place.region not in ("vmalloc", "modules"):
        return None
    area = areas.area_at(place.prog, place.address)
    if area is None:
        if place.walk.outcome is Outcome.MAPPED:
            raise Missing("a page is mapped here, but no vmalloc area contains it")
        return None
    return VmapFacts(
        start=area.start,
        end=area.end,
        offset_bytes=place.address - area.start,
        guard=place.address >= area.mapped_end,
        caller=code_words(place.prog, area.caller) if area.has_vm else "vm_map_ram",
        caller_address=area.caller,
        flags=area.flags,
        flags_words=vmap_words(area.flags) if area.has_vm else "vm_map_ram",
        pages=area.nr_pages,
        physical=area.physical or None,
    )


def vmap_words(flags: int) -> str:
    """Return the flags of a ``struct vm_struct`` as words; a bit without a name is "bit N"."""
    words = [word for bit, word in _VM_FLAGS if flags & bit]
    known = sum(bit for bit, _ in _VM_FLAGS)
    words += [f"bit {bit}" for bit in range(64) if (flags & ~known) >> bit & 1]
    return "|".join(words)


def find_page_struct(place: Place) -> PageStructFacts | None:
    """Return the frame whose ``struct page`` contains an address."""
    if place.region != "vmemmap":
        return None
    size = place.layout.struct_page_bytes
    pfn, offset = divmod(place.address - place.layout.vmemmap_base, size)
    return PageStructFacts(pfn, place.address - offset, offset)
