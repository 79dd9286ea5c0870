# SPDX-License-Identifier: GPL-2.0-or-later
"""The seam: drgn's finders of types, objects and symbols, from BTF and kallsyms.

drgn's own BTF finder (pull request 625) would replace what is behind :func:`use_btf`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import drgn

from pageproof.attach.btf import sources
from pageproof.attach.btf.drgntypes import Types
from pageproof.attach.btf.format import Kind
from pageproof.attach.btf.kallsyms import SymbolTable
from pageproof.attach.btf.variables import type_of
from pageproof.find.bounded import DamagedError
from pageproof.find.kernel.debuginfo import MODULE_TYPES
from pageproof.find.kernel.kallsyms import module_symbols, symbols_named
from pageproof.find.kernel.modules import all_modules, is_named, module_at, module_name

_NAME: Final = "pageproof BTF"
_UNNAMED: Final = "enum with "
_BY_NEXT: Final = ("[]", "[32n]")
_FAULTS: Final = (drgn.FaultError, LookupError, AttributeError, ValueError, DamagedError)


def use_btf(prog: drgn.Program, release: str, files: Sequence[Path]) -> tuple[str, ...]:
    """Register finders that need no DWARF.

    Args:
        prog: attached to a kernel.
        release: the kernel's release, for messages.
        files: what the user named with -s: vmlinux, a System.map.

    Returns:
        Notes for the user.

    Raises:
        PageproofError: the kernel has no BTF or no symbols, or they are damaged.
    """
    local = bool(prog.flags & drgn.ProgramFlags.IS_LOCAL)
    named = sources.sort_files(files)
    symbols = sources.find_symbols(prog, release, named, local=local)
    btf, source = sources.find_kernel(prog, symbols, named, local=local)
    finders = _Finders(prog, Types(prog, btf), symbols, local)
    prog.register_type_finder(_NAME, finders.find_type, enable_index=0)
    prog.register_symbol_finder(_NAME, finders.find_symbols, enable_index=0)
    # After drgn's own, which knows PAGE_SIZE and others.
    prog.register_object_finder(_NAME, finders.find_object, enable_index=-1)
    prog.cache[MODULE_TYPES] = finders.add_modules
    return (f"types: BTF from {source}; symbols: {symbols.source}",)


class _Finders:
    """drgn calls these; each answers None or [] for what it does not know."""

    def __init__(
        self,
        prog: drgn.Program,
        kernel: Types,
        symbols: SymbolTable,
        local: bool,
    ) -> None:
        self._prog, self._symbols, self._local = prog, symbols, local
        self._types = [kernel]
        self._known = {""}

    def add_modules(self, names: Collection[str]) -> list[str]:
        """Add the types of modules that have BTF; return the names of loaded ones without."""
        without = []
        for name in names:
            if name in self._known:
                continue
            self._known.add(name)
            kernel = self._types[0]
            found = sources.find_module(self._prog, name, kernel.btf, local=self._local)
            if found is not None:
                self._types.append(Types(self._prog, found, kernel))
                continue
            with suppress(*_FAULTS):
                if is_named(self._prog, name):
                    without.append(name)
        return without

    def find_type(
        self, prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> drgn.Type | None:
        if filename:
            return None  # BTF has no names of files
        return next((one for types in self._types if (one := types.find(kinds, name))), None)

    def find_symbols(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> Sequence[drgn.Symbol]:
        found = self._symbols.find(name, address, one)
        if found and one:
            return [self._exact(found[0])]
        with suppress(*_FAULTS):
            if address is not None:
                found += self._at(address, name)
            elif name is not None:
                found += self._of_modules(name)
        return found[:1] if one else found

    def _exact(self, symbol: drgn.Symbol) -> drgn.Symbol:
        """Return a symbol with the size of its type, if that is known; kallsyms has no sizes."""
        kind = type_of(symbol.name)
        if kind is None or kind.endswith(_BY_NEXT):
            return symbol
        try:
            made = self._parse(kind, symbol.name)
            size = drgn.sizeof(made)
        except LookupError:
            return symbol
        if size > symbol.size > 0 or _may_be_longer(made):
            return symbol
        kinds = drgn.SymbolKind
        return drgn.Symbol(symbol.name, symbol.address, size, symbol.binding, kinds.OBJECT)

    def _at(self, address: int, name: str | None) -> list[drgn.Symbol]:
        module = module_at(self._prog, address)
        if module is None or module_name(module) not in self._known:
            return []
        return [
            symbol
            for symbol in module_symbols(module)
            if symbol.address <= address < symbol.address + max(symbol.size, 1)
            and name in (None, symbol.name)
        ]

    def _of_modules(self, name: str) -> list[drgn.Symbol]:
        return [
            symbol
            for module in all_modules(self._prog)
            if module_name(module) in self._known and symbols_named(module, name)
            for symbol in module_symbols(module)
            if symbol.name == name
        ]

    def find_object(
        self, prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        if flags & drgn.FindObjectFlags.VARIABLE:
            found = self._variable(name)
            if found is not None:
                return found
        if filename:
            return None
        if flags & drgn.FindObjectFlags.CONSTANT:
            for types in self._types:
                found = types.find_constant(name)
                if found is not None:
                    return found
        if flags & drgn.FindObjectFlags.FUNCTION:
            found = self._typed(Kind.FUNC, name)
            return self._untyped(name) if found is None else found
        return None

    def _untyped(self, name: str) -> drgn.Object | None:
        """Return a function that only the symbol table has: as ``void (...)``."""
        found = self.find_symbols(self._prog, name, None, True)
        if not found or found[0].kind is not drgn.SymbolKind.FUNC:
            return None
        kind = self._prog.function_type(self._prog.void_type(), (), True)
        return drgn.Object(self._prog, kind, address=found[0].address)

    def _variable(self, name: str) -> drgn.Object | None:
        kind = type_of(name)
        if kind is None:
            return self._typed(Kind.VAR, name)
        address = self._address(name)
        if address is None:
            return None
        try:
            return drgn.Object(self._prog, self._parse(kind, name), address=address)
        except LookupError:  # this kernel does not have the type
            return None

    def _typed(self, kind: Kind, name: str) -> drgn.Object | None:
        for types in self._types:
            found = types.find_typed(kind, name)
            address = None if found is None else self._address(name)
            if found is not None and address is not None:
                return drgn.Object(self._prog, found, address=address)
        return None

    def _address(self, name: str) -> int | None:
        found = self.find_symbols(self._prog, name, None, True)
        return int(found[0].address) if found else None

    def _parse(self, kind: str, name: str) -> drgn.Type:
        if kind.startswith(_UNNAMED):
            found = self._types[0].find_constant(kind.removeprefix(_UNNAMED))
            if found is None:
                raise LookupError(kind)
            return found.type_
        element, bracket, length = kind.removesuffix("]").rpartition("[")
        if not bracket:
            return self._prog.type(kind)
        one = self._prog.type(element.strip())
        return self._prog.array_type(one, self._length(length, name, drgn.sizeof(one)))

    def _length(self, words: str, name: str, size_bytes: int) -> int | None:
        """Return the length of an array as the table writes it; None if it is not known."""
        if words.isdecimal():
            return int(words)
        if words in ("", "32n"):
            step = 32 if words else 1
            lengths = self._symbols.lengths(name, size_bytes)
            found = [length for length in lengths if length % step == 0]
            return found[0] if len(found) == 1 else None
        if "." in words:
            return self._length_of_member(words)
        constant, _, one = words.partition(" + ")
        index = self._types[0].find_constant(constant)
        if index is None:
            raise LookupError(constant)
        return int(index) + int(one or 0)

    def _length_of_member(self, words: str) -> int:
        for word in words.split():
            tag, _, member = word.partition(".")
            with suppress(LookupError, AttributeError, TypeError):
                return int(self._prog.type(f"struct {tag}").member(member).type.length)
        raise LookupError(words)


def _may_be_longer(kind: drgn.Type) -> bool:
    """Return whether a variable of a type may have more bytes: its last member is flexible."""
    if kind.kind is not drgn.TypeKind.STRUCT or not kind.members:
        return False
    last = kind.members[-1].type
    return last.kind is drgn.TypeKind.ARRAY and not last.length
