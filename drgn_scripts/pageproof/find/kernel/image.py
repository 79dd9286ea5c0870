# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's image and its modules: whether something static is still there."""

from __future__ import annotations

import drgn

from pageproof.find.kernel.debuginfo import of_program
from pageproof.find.kernel.modules import module_at
from pageproof.find.kernel.paging import START_KERNEL_MAP
from pageproof.space.units import ADDRESS_LAST


@of_program
def image_ends(prog: drgn.Program) -> tuple[int, int]:
    """Addresses of the image's first byte and of that after its last; equal if not known."""
    try:
        return int(prog.symbol("_text").address), end_symbol(prog, "_end")
    except LookupError:
        return START_KERNEL_MAP, START_KERNEL_MAP


def end_symbol(prog: drgn.Program, name: str) -> int:
    """Address of a symbol that marks an end of the image.

    drgn moves symbols by the bias only if that leads into the image (elf_symbol_address() of its
    libdrgn/elf_symtab.c), and the end of the image is the first byte after it. Only where the
    linker rounded up the last segment does it lie inside.

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
    """Whether an address is the image's or a loaded module's; True where that can't be told."""
    start, end = image_ends(prog)
    try:
        return start <= address < end or module_at(prog, address) is not None
    except (drgn.FaultError, LookupError, AttributeError, ValueError):
        return True
