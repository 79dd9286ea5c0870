# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs for drgn that are made of a few types, enumerators, objects and symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import drgn

#: struct: members that are unsigned long.
Members = Mapping[str, Sequence[str]]


@dataclass
class Made:
    """What the program knows; objects are added once it is there to make them.

    Attributes:
        structs: by their tag.
        sizes: of structs that are larger than their members.
        enumerators: by name.
        objects: variables by name.
        symbols: names of functions.
    """

    structs: Members = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    enumerators: Mapping[str, int] = field(default_factory=dict)
    objects: dict[str, drgn.Object] = field(default_factory=dict)
    symbols: Sequence[str] = ()

    def program(self) -> drgn.Program:
        prog = drgn.Program(drgn.host_platform)
        word = prog.int_type("unsigned long", 8, False)
        prog.register_type_finder("made", self._type_finder(word), enable_index=0)
        prog.register_object_finder("made", self._object, enable_index=0)
        prog.register_symbol_finder("made", self._symbols, enable_index=0)
        return prog

    def _type_finder(self, word: drgn.Type) -> Any:
        def find(
            prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
        ) -> drgn.Type | None:
            if name == "unsigned long":
                return word
            if name not in self.structs:
                return None
            names = self.structs[name]
            members = [drgn.TypeMember(word, each, 64 * at) for at, each in enumerate(names)]
            return prog.struct_type(name, self.sizes.get(name, 8 * len(names)), members)

        return find

    def _object(
        self, prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        if name in self.enumerators:
            return drgn.Object(prog, "unsigned long", self.enumerators[name])
        return self.objects.get(name)

    def _symbols(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> list[drgn.Symbol]:
        if name not in self.symbols:
            return []
        binding, kind = drgn.SymbolBinding.GLOBAL, drgn.SymbolKind.FUNC
        return [drgn.Symbol(str(name), 0x1000, 16, binding, kind)]
