# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbols of the kernel and its modules, and the module of an address."""

from __future__ import annotations

from typing import Final

import drgn

from pageproof.find.identify.place import Place
from pageproof.find.kernel.image import end_symbol
from pageproof.find.kernel.modules import module_at, module_name, part_at
from pageproof.find.kernel.symbols import module_symbol
from pageproof.model.whatis import ModuleFacts, SymbolFacts

#: arch/x86/kernel/vmlinux.lds.S. Init is checked first: it is in the middle of the image.
_SECTIONS: Final = (
    ("init", "__init_begin", "__init_end"),
    ("text", "_text", "_etext"),
    ("rodata", "__start_rodata", "__end_rodata"),
    ("data", "_sdata", "_edata"),
    ("bss", "__bss_start", "__bss_stop"),
    ("brk", "__brk_base", "__brk_limit"),
)


def find_symbol(place: Place) -> SymbolFacts | None:
    """Return the symbol at an address, from debug info or from the module's own kallsyms."""
    if place.region not in ("text", "modules"):
        return None
    try:
        symbol = place.prog.symbol(place.address)
    except LookupError:
        nearest = module_symbol(place.prog, place.address)
        return nearest and _facts(nearest, place.address, "module's kallsyms")
    section = _section(place.prog, place.address) if place.region == "text" else ""
    freed = section == "init" and _init_is_freed(place.prog)
    return _facts(symbol, place.address, "debug info", section, freed)


def _facts(
    symbol: drgn.Symbol, address: int, source: str, section: str = "", freed: bool = False
) -> SymbolFacts:
    return SymbolFacts(
        name=symbol.name,
        start=symbol.address,
        size_bytes=symbol.size,
        offset_bytes=address - symbol.address,
        section=section,
        freed=freed,
        source=source,
    )


def _section(prog: drgn.Program, address: int) -> str:
    """Return the part of the kernel's image, from its linker script; "" between the parts."""
    for name, first, last in _SECTIONS:
        try:
            start, end = prog.symbol(first).address, end_symbol(prog, last)
        except LookupError:
            continue
        if start <= address < end:
            return name
    return ""


def _init_is_freed(prog: drgn.Program) -> bool:
    """Return whether init memory was freed.

    ``free_initmem()`` runs right before the state becomes SYSTEM_RUNNING (init/main.c).
    """
    running = prog.constant("SYSTEM_RUNNING").value_()
    return int(prog["system_state"].value_()) >= int(running)


def find_module(place: Place) -> ModuleFacts | None:
    """Return the module whose memory contains an address."""
    if place.region not in ("modules", "vmalloc"):
        return None
    module = module_at(place.prog, place.address)
    if module is None:
        return None
    part = part_at(module, place.address)
    offset = place.address - part.start
    return ModuleFacts(module_name(module), part.name, part.start, part.length_bytes, offset)
