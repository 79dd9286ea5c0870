# SPDX-License-Identifier: GPL-2.0-or-later
"""KASAN's shadow (mm/kasan/kasan.h, generic mode: one byte for eight)."""

from __future__ import annotations

from typing import Final

from pageproof import arch
from pageproof.find.identify.place import Place
from pageproof.model import MemoryGap
from pageproof.model.whatis import ShadowFacts
from pageproof.space.units import ADDRESS_END

_SHIFT: Final = 3
_BYTES: Final = 8
#: Macros, which DWARF does not have. Kernels 5.10 to 7.2 have the same values.
_CODES: Final = {
    0xFF: "freed page",
    0xFE: "redzone of a large kmalloc",
    0xFD: "page-table entries in lazy MMU mode",
    0xFC: "redzone of a slab object",
    0xFB: "freed slab object",
    0xFA: "freed slab object, with its track",
    0xF9: "redzone of a global variable",
    0xF8: "not valid: a vmap area, or a variable out of its scope",
    0xF1: "redzone left of a stack variable",
    0xF2: "redzone between stack variables",
    0xF3: "redzone right of a stack variable",
    0xF4: "partial redzone of a stack variable",
    0xCA: "redzone left of an alloca",
    0xCB: "redzone right of an alloca",
}


def find_shadow(place: Place) -> ShadowFacts | None:
    """Return the shadow of a kernel address, or the memory of an address in the shadow."""
    end = place.layout.kasan_end
    architecture = arch.of_program(place.prog)
    if end is None or not architecture.is_upper(place.address):
        return None
    if place.region == "kasan":
        form = architecture.paging(place.paging, zero_fills=False)
        if place.address < shadow_of(ADDRESS_END - (1 << form.half_bits), end):
            return None  # the rest of the PGD entry in which the shadow starts
        shadow = place.address
        memory = shadowed(shadow, end)
    else:
        shadow = shadow_of(place.address, end)
        memory = place.address & -_BYTES
    try:
        values = tuple(place.read_virtual(shadow, _BYTES))
    except MemoryGap:
        # Not an error: most holes have no shadow.
        return ShadowFacts(shadow, memory, (), ())
    return ShadowFacts(shadow, memory, values, tuple(meaning(value) for value in values))


def shadow_of(address: int, end: int) -> int:
    """Return ``kasan_mem_to_shadow()``. The shadow of the last byte is the end of the area."""
    return (address >> _SHIFT) + end - (ADDRESS_END >> _SHIFT)


def shadowed(shadow: int, end: int) -> int:
    """Return ``kasan_shadow_to_mem()``."""
    return (shadow - end + (ADDRESS_END >> _SHIFT)) << _SHIFT


def meaning(value: int) -> str:
    """Return the meaning of a shadow byte in words."""
    if value == 0:
        return "all 8 bytes may be used"
    if value < _BYTES:
        return f"the first {value} of 8 bytes may be used"
    return _CODES.get(value, f"code {value:#x}")
