# SPDX-License-Identifier: GPL-2.0-or-later
"""The variable that a name means. vmlinux and each module have their own names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import drgn

from pageproof.errors import PageproofError
from pageproof.find.kernel.kallsyms import functions, symbols_named
from pageproof.find.kernel.modules import module_at

_BROKEN: Final = (drgn.FaultError, LookupError, AttributeError, ValueError)
#: Limit of candidates in a message.
_LISTED: Final = 8


@dataclass(frozen=True)
class _Candidate:
    """A variable or function with a given name.

    Attributes:
        owner: a module's name; "vmlinux".
        known: debug info or a symbol table has it, and not only the target's kallsyms.
    """

    owner: str
    address: int
    known: bool = True

    def __str__(self) -> str:
        return f"{self.owner} at {self.address:#x}"


def find_variable(prog: drgn.Program, name: str, operations: int) -> drgn.Object | None:
    """Return the variable or constant with a name; None if debug info has none.

    If several have the name, the one in the module of the file's operations is used.

    Args:
        prog: the target.
        name: as the user wrote it.
        operations: address of ``struct file_operations``; 0 for none.

    Raises:
        PageproofError: the name is ambiguous, or the variable meant has no debug info.
    """
    chosen = _choose(prog, name, operations)
    try:
        found = prog[name]
    except LookupError:
        return None
    if chosen is None or found.address_ in (None, chosen.address):
        return found
    files: dict[str, str] = prog.cache.setdefault("pageproof source files", {})
    for file in chain([files.get(name, "")], _source_files(prog, chosen.address)):
        try:
            found = prog.object(name, filename=file)
        except LookupError:
            continue
        if found.address_ == chosen.address:
            files[name] = file  # the search of a large module takes seconds
            return found
    raise PageproofError(
        f"{chosen} has no debug info here, and vmlinux or another module has this name too",
        repr(name),
        f"give {chosen.owner}.ko, unstripped, with -s",
    )


def find_symbol(prog: drgn.Program, name: str, operations: int) -> int | None:
    """Return the address of a name in a symbol table; None if there is none.

    Raises:
        PageproofError: as :func:`find_variable`.
    """
    chosen = _choose(prog, name, operations)
    return None if chosen is None else chosen.address


def _choose(prog: drgn.Program, name: str, operations: int) -> _Candidate | None:
    """Return the only candidate, or the only one in the file's module; None if there is none."""
    module = _module_at(prog, operations) if operations else None
    found = {
        symbol.address: _Candidate(_owner(prog, symbol.address), symbol.address)
        for symbol in prog.symbols(name)
    }
    if module and not any(one.owner == _name(module) for one in found.values()):
        # Without the module's debug info, its name must not be resolved to vmlinux's.
        for address in symbols_named(module, name):
            found.setdefault(address, _Candidate(_name(module), address, known=False))
    candidates = sorted(found.values(), key=lambda one: one.address)
    own = [one for one in candidates if module and one.owner == _name(module)]
    if len(own) == 1 or len(candidates) < 2:
        chosen = own[0] if own else candidates[0] if candidates else None
        if chosen is not None and not chosen.known:
            raise PageproofError(
                f"no debug info for {chosen}", repr(name), f"give {chosen.owner}.ko with -s"
            )
        return chosen
    some = own or candidates
    more = f" and {len(some) - _LISTED} more" if len(some) > _LISTED else ""
    raise PageproofError(
        f"several variables have this name: {', '.join(map(str, some[:_LISTED]))}{more}",
        repr(name),
        "give the address, or name the source file: prog.variable(NAME, FILE)",
    )


def _module_at(prog: drgn.Program, address: int) -> drgn.Object | None:
    """Return ``struct module *`` at an address; None if not known."""
    try:
        return module_at(prog, address)
    except _BROKEN:
        return None


def _name(module: drgn.Object) -> str:
    return str(module.name.string_().decode("utf-8", "replace"))


def _owner(prog: drgn.Program, address: int) -> str:
    module = _module_at(prog, address)
    return _name(module) if module is not None else "vmlinux"


def _source_files(prog: drgn.Program, address: int) -> Iterator[str]:
    """Yield the source files of the functions of the module at an address."""
    module = _module_at(prog, address)
    if module is None:
        return
    files: dict[str, None] = {}
    for function in functions(module):
        try:
            files |= dict.fromkeys(one.filename for one in prog.source_location(function))
        except LookupError:
            continue
    yield from (file for file in files if file)
