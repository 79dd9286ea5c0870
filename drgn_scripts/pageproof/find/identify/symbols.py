# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbols of the kernel and its modules, and the parts of a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn
from drgn.helpers.linux.kallsyms import module_kallsyms

from pageproof.find.identify.place import Place
from pageproof.find.kernel.image import end_symbol
from pageproof.find.kernel.modules import module_at
from pageproof.model.whatis import ModuleFacts, SymbolFacts

#: ``enum mod_mem_type`` without its prefix, as words.
_PARTS: Final = {
    "TEXT": "text",
    "DATA": "data",
    "RODATA": "rodata",
    "RO_AFTER_INIT": "data, read-only after init",
    "INIT_TEXT": "init text",
    "INIT_DATA": "init data",
    "INIT_RODATA": "init rodata",
}

#: arch/x86/kernel/vmlinux.lds.S. Init goes before data: it is in the middle of the image.
_SECTIONS: Final = (
    ("init", "__init_begin", "__init_end"),
    ("text", "_text", "_etext"),
    ("rodata", "__start_rodata", "__end_rodata"),
    ("data", "_sdata", "_edata"),
    ("bss", "__bss_start", "__bss_stop"),
    ("brk", "__brk_base", "__brk_limit"),
)


def find_symbol(place: Place) -> SymbolFacts | None:
    """The symbol that an address is in: by debug info, else by what the module brought itself."""
    if place.region not in ("text", "modules"):
        return None
    try:
        symbol = place.prog.symbol(place.address)
    except LookupError:
        nearest = _module_symbol(place.prog, place.address)
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
    """The part of the kernel's image, by the marks of its linker script; "" between them."""
    for name, first, last in _SECTIONS:
        try:
            start, end = prog.symbol(first).address, end_symbol(prog, last)
        except LookupError:
            continue
        if start <= address < end:
            return name
    return ""


def _init_is_freed(prog: drgn.Program) -> bool:
    """``free_initmem()`` runs right before the state says "running" (init/main.c)."""
    running = prog.constant("SYSTEM_RUNNING").value_()
    return int(prog["system_state"].value_()) >= int(running)


def _module_symbol(prog: drgn.Program, address: int) -> drgn.Symbol | None:
    """By the symbol table that the kernel keeps of each module (``struct module.kallsyms``).

    The nearest symbol below in the same part of the module, if it has no size that ends before.
    """
    module = module_at(prog, address)
    if module is None or not hasattr(module, "kallsyms"):  # without CONFIG_KALLSYMS
        return None
    part = _part_at(module, address)
    below = [
        symbol
        for symbol in module_kallsyms(module)
        if part.start <= symbol.address <= address and symbol.name
    ]
    nearest = max(below, key=lambda symbol: symbol.address, default=None)
    if nearest is None or (nearest.size and address >= nearest.address + nearest.size):
        return None
    return nearest


def code_words(prog: drgn.Program, address: int) -> str:
    """A code address as "symbol+0xOFFSET", as procfs has it; hex without one, "" for 0."""
    if not address:
        return ""
    try:
        symbol: drgn.Symbol | None = prog.symbol(address)
    except LookupError:
        symbol = _module_symbol(prog, address)
    if symbol is None:
        return f"{address:#x}"
    return f"{symbol.name}+{address - symbol.address:#x}"


def find_module(place: Place) -> ModuleFacts | None:
    """The module whose memory an address is in."""
    if place.region not in ("modules", "vmalloc"):
        return None
    module = module_at(place.prog, place.address)
    return None if module is None else _part_at(module, place.address)


def _part_at(module: drgn.Object, address: int) -> ModuleFacts:
    """The part of a module that has an address.

    Raises:
        ValueError: none has, though the kernel's tree of modules says so.
    """
    name = module.name.string_().decode("utf-8", "replace")
    for part, start, size in _parts(module):
        if start <= address < start + size:
            return ModuleFacts(name, part, start, size, address - start)
    raise ValueError(f"no part of the module {name} has this address")


def _parts(module: drgn.Object) -> Iterator[tuple[str, int, int]]:
    """(name, start, bytes) of each part."""
    try:
        memory = module.mem  # since 6.4: ac3b43283923 ("module: replace module_layout …")
    except AttributeError:
        yield from _layout_parts(module.core_layout, "")
        yield from _layout_parts(module.init_layout, "init ")
        return
    for each in module.prog_.type("enum mod_mem_type").enumerators or ():
        name = each.name.removeprefix("MOD_")
        if name in _PARTS:
            one = memory[each.value]
            yield _PARTS[name], one.base.value_(), one.size.value_()


def _layout_parts(layout: drgn.Object, prefix: str) -> Iterator[tuple[str, int, int]]:
    """A ``struct module_layout``: text, rodata, read-only after init, data, one after the other."""
    start, done = layout.base.value_(), 0
    ends = (
        ("text", layout.text_size),
        ("rodata", layout.ro_size),
        ("data, read-only after init", layout.ro_after_init_size),
        ("data", layout.size),
    )
    for name, end in ends:
        size = end.value_() - done
        if size > 0:
            yield prefix + name, start + done, size
            done += size
