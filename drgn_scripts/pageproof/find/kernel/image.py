# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's image, and whether an address is in it or in a loaded module."""

from __future__ import annotations

import drgn

from pageproof import arch
from pageproof.find.kernel.debuginfo import of_program
from pageproof.find.kernel.modules import module_at
from pageproof.space.units import ADDRESS_LAST


@of_program
def image_ends(prog: drgn.Program) -> tuple[int, int]:
    """Return the start and end address of the image; equal if not known."""
    try:
        return int(prog.symbol("_text").address), end_symbol(prog, "_end")
    except LookupError:
        linked = arch.of_program(prog).image_map
        return linked, linked


def end_symbol(prog: drgn.Program, name: str) -> int:
    """Return the address of a symbol that may mark the end of the image.

    drgn adds the KASLR bias to a symbol only if the result is inside the image
    (elf_symbol_address() of libdrgn/elf_symtab.c). The end of the image is the first byte after it,
    and is inside only if the linker rounded up the last segment.

    Raises:
        LookupError: there is no such symbol.
    """
    address = int(prog.symbol(name).address)
    try:
        module = prog.main_module()
    except LookupError:
        return address
    moved = address + (module.debug_file_bias or module.loaded_file_bias or 0) & ADDRESS_LAST
    return moved if any(moved == end for _, end in module.address_ranges or ()) else address


def is_loaded(prog: drgn.Program, address: int) -> bool:
    """Return whether an address is in the image or a loaded module; True if not known."""
    start, end = image_ends(prog)
    try:
        return start <= address < end or module_at(prog, address) is not None
    except (drgn.FaultError, LookupError, AttributeError, ValueError):
        return True
