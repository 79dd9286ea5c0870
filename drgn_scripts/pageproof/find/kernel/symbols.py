# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of addresses."""

from __future__ import annotations

import drgn
from drgn.helpers.linux.kallsyms import module_kallsyms

from pageproof.find.kernel.kallsyms import module_variable
from pageproof.find.kernel.modules import module_at, part_at


def symbol_name(prog: drgn.Program, address: int) -> str:
    """Return the name of the symbol at an address; the address in hex if there is none.

    In a module without debug info it is the name of the variable that starts there.

    The names are cached: drgn takes milliseconds for one, and many VMAs have the same operations.
    """
    known: dict[int, str] = prog.cache.setdefault("pageproof symbols", {})
    if address not in known:
        try:
            known[address] = str(prog.symbol(address).name)
        except LookupError:
            known[address] = module_variable(prog, address) or f"{address:#x}"
    return known[address]


def code_words(prog: drgn.Program, address: int) -> str:
    """Return a code address as "symbol+0xOFFSET", like procfs.

    It is hex if there is no symbol, and "" for 0.
    """
    if not address:
        return ""
    symbol = symbol_at(prog, address)
    if symbol is None:
        return f"{address:#x}"
    return f"{symbol.name}+{address - symbol.address:#x}"


def symbol_at(prog: drgn.Program, address: int) -> drgn.Symbol | None:
    """Return the symbol at an address, from debug info or from its module; None if none is known.

    Raises:
        as :func:`module_symbol`.
    """
    try:
        return prog.symbol(address)
    except LookupError:
        return module_symbol(prog, address)


def module_symbol(prog: drgn.Program, address: int) -> drgn.Symbol | None:
    """Return the symbol at an address from the table in ``struct module.kallsyms``.

    It is the nearest symbol below the address in the same part of the module, unless its size ends
    before the address.
    """
    module = module_at(prog, address)
    if module is None:
        return None
    try:
        symbols = module_kallsyms(module)
    except AttributeError:
        return None  # a kernel without CONFIG_KALLSYMS
    part = part_at(module, address)
    below = [
        symbol for symbol in symbols if part.start <= symbol.address <= address and symbol.name
    ]
    nearest = max(below, key=lambda symbol: symbol.address, default=None)
    if nearest is None or (nearest.size and address >= nearest.address + nearest.size):
        return None
    return nearest
