# SPDX-License-Identifier: GPL-2.0-or-later
"""Symbols of modules that have no debug info, from the kernel's own tables."""

from __future__ import annotations

import struct
from typing import Final

import drgn
from drgn.helpers.linux.kallsyms import module_kallsyms

from pageproof.find.kernel.modules import module_at

#: ``Elf64_Sym`` (elf(5)): name, type and binding, visibility, section, address, size.
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_STT_OBJECT: Final = 1
_STT_FUNC: Final = 2
#: ``KSYM_NAME_LEN`` was 128, and is 512 since 6.1 (b8a94bfb3395).
_NAME_BYTES: Final = 512
#: Limit of symbols; the largest modules have some ten thousand.
_MAX_SYMBOLS: Final = 1 << 20
_BROKEN: Final = (drgn.FaultError, LookupError, AttributeError, ValueError)


def module_variable(prog: drgn.Program, address: int) -> str | None:
    """Return the name of a module's variable at an address; None if not known.

    This reads the raw table in ``struct module.kallsyms``. drgn's module_kallsyms() creates an
    object for each symbol, and large modules have tens of thousands.
    """
    try:
        module = module_at(prog, address)
        if module is None:
            return None
        table = module.kallsyms
        count = int(table.num_symtab)
        if count > _MAX_SYMBOLS:
            return None
        symbols = prog.read(table.symtab.value_(), count * _SYMBOL.size)
        for name, info, _, _, value, _ in _SYMBOL.iter_unpack(symbols):
            if value == address and info & 0xF == _STT_OBJECT:
                text: bytes = prog.read_c_string(table.strtab.value_() + name, max_size=_NAME_BYTES)
                return text.decode("utf-8", "replace")
    except _BROKEN:
        return None
    return None


def symbols_named(module: drgn.Object, name: str) -> list[int]:
    """Return the addresses of a module's symbols with a given name; empty if not known."""
    # Read the whole string table at once and compare at the offset of each symbol's name. A name
    # may be the end of another one: linkers merge such strings, and while a module is loaded its
    # table is that of its file.
    try:
        symbols, strings = _table(module), module.kallsyms.strtab.value_()
        last = max((place for place, *_ in symbols), default=0)
        if last > _MAX_SYMBOLS * _NAME_BYTES:
            return []
        end = last + len(module.prog_.read_c_string(strings + last, max_size=_NAME_BYTES))
        text = module.prog_.read(strings, end) + b"\0"
        wanted = name.encode() + b"\0"
        return [value for place, _, value in symbols if text.startswith(wanted, place)]
    except _BROKEN:
        return []


def module_symbols(module: drgn.Object) -> list[drgn.Symbol]:
    """Return all symbols of a module.

    Raises:
        drgn.FaultError: they cannot be read.
        AttributeError: a kernel without CONFIG_KALLSYMS.
    """
    found: list[drgn.Symbol] = [one for one in module_kallsyms(module) if one.name]
    return found


def functions(module: drgn.Object) -> list[int]:
    """Return the addresses of a module's functions; empty if not known."""
    try:
        return [value for _, kind, value in _table(module) if kind == _STT_FUNC]
    except _BROKEN:
        return []


def _table(module: drgn.Object) -> list[tuple[int, int, int]]:
    """Return (offset of the name, type, address) of each symbol of a module."""
    table = module.kallsyms
    count = int(table.num_symtab)
    if count > _MAX_SYMBOLS:
        raise ValueError(f"{count} symbols in a module")
    data = module.prog_.read(table.symtab.value_(), count * _SYMBOL.size)
    return [(name, info & 0xF, value) for name, info, _, _, value, _ in _SYMBOL.iter_unpack(data)]
