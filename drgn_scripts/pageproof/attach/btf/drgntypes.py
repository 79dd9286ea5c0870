# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn's types from BTF. Each is made on first use, and members when they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import drgn

from pageproof.attach.btf.format import Btf, Kind

#: Limit of types inside types; real ones have some ten. It ends a circle too.
_MAX_DEPTH: Final = 64
#: Limit of the members of a structure, those of unnamed members included: drgn lists them all.
#: ``struct task_struct`` has some 300.
_MAX_MEMBERS: Final = 1 << 16
#: Limit of the bytes of an array; drgn counts bits, in 64 of them.
_MAX_BYTES: Final = 1 << 46

_QUALIFIERS: Final = {
    Kind.CONST: drgn.Qualifiers.CONST,
    Kind.VOLATILE: drgn.Qualifiers.VOLATILE,
    Kind.RESTRICT: drgn.Qualifiers.RESTRICT,
    Kind.TYPE_TAG: drgn.Qualifiers.NONE,
}
#: The integer type of an enumeration, by (size in bytes, signed), as the compiler chooses it.
_ENUM_TYPES: Final = {
    (1, False): "unsigned char",
    (1, True): "signed char",
    (2, False): "short unsigned int",
    (2, True): "short int",
    (4, False): "unsigned int",
    (4, True): "int",
    (8, False): "long unsigned int",
    (8, True): "long int",
}
_INT_SIGNED: Final = 1
_INT_BOOL: Final = 4


class Types:
    """The types of one BTF."""

    def __init__(self, prog: drgn.Program, btf: Btf, base: Types | None = None) -> None:
        self._prog, self.btf, self._base = prog, btf, base
        self._made: dict[int, drgn.Type] = {}
        self._members: dict[int, int] = {}

    def find(self, kinds: drgn.TypeKindSet, name: str) -> drgn.Type | None:
        """Return the type with a name; None if there is none. Declarations come last."""
        found = [i for i in self.btf.ids(name) if _drgn_kind(self.btf, i) in kinds]
        whole = [i for i in found if self.btf.head(i)[1] is not Kind.FWD]
        return self.make((whole or found)[0]) if found else None

    def find_constant(self, name: str) -> drgn.Object | None:
        """Return an enumerator; None if there is none."""
        for type_id in self.btf.enumerators(name):
            made = self.make(type_id)
            for one, value in made.enumerators or ():
                if one == name:
                    return drgn.Object(self._prog, made, value)
        return None

    def find_typed(self, kind: Kind, name: str) -> drgn.Type | None:
        """Return the type of the variable or function with a name; None if BTF has none."""
        for type_id in self.btf.ids(name):
            _, found, _, _, inner = self.btf.head(type_id)
            if found is kind:
                return self.make(inner)
        return None

    def make(self, type_id: int, depth: int = 0) -> drgn.Type:
        """Return a type.

        Raises:
            PageproofError: the BTF is damaged.
        """
        if self._base is not None and type_id < self.btf.first:
            return self._base.make(type_id, depth)
        made = self._made.get(type_id)
        if made is None:
            if depth > _MAX_DEPTH:
                self.btf.broken(f"type {type_id} is more than {_MAX_DEPTH} types deep")
            try:
                made = self._new(type_id, depth + 1)
            except (ValueError, OverflowError, TypeError) as error:
                self.btf.broken(f"type {type_id} cannot be: {error}")
            self._made[type_id] = made
        return made

    def _new(self, type_id: int, depth: int) -> drgn.Type:
        prog = self._prog
        name, kind, count, flag, size = self.btf.head(type_id)
        if kind is Kind.VOID:
            return prog.void_type()
        if kind is Kind.INT:
            return self._integer(type_id, name, size)
        if kind is Kind.FLOAT:
            return prog.float_type(name, size)
        if kind is Kind.PTR:
            return prog.pointer_type(self.make(size, depth))
        if kind is Kind.TYPEDEF:
            return prog.typedef_type(name, self.make(size, depth))
        if kind in _QUALIFIERS:
            inner = self.make(size, depth)
            return inner.qualified(inner.qualifiers | _QUALIFIERS[kind])
        if kind is Kind.ARRAY:
            element, _, length = self.btf.after(type_id)
            return self._array(type_id, self.make(element, depth), length)
        if kind in (Kind.STRUCT, Kind.UNION):
            return self._compound(type_id, name, kind, count, flag, size, depth)
        if kind is Kind.FWD:
            return self._declared(name, flag)
        if kind in (Kind.ENUM, Kind.ENUM64):
            return self._enumeration(type_id, name, kind, flag, size)
        if kind is Kind.FUNC_PROTO:
            return self._prototype(type_id, size, depth)
        self.btf.broken(f"type {type_id} is used as a type and is a {kind.name}")

    def _integer(self, type_id: int, name: str, size: int) -> drgn.Type:
        encoding = self.btf.after(type_id)[0] >> 24
        if not name or not 0 < size <= 16:
            self.btf.broken(f"type {type_id} is an integer {name!r} of {size} bytes")
        if encoding & _INT_BOOL:
            return self._prog.bool_type(name, size)
        return self._prog.int_type(name, size, bool(encoding & _INT_SIGNED))

    def _array(self, type_id: int, element: drgn.Type, length: int) -> drgn.Type:
        size = drgn.sizeof(element) if _has_size(element) else 1
        if size * length > _MAX_BYTES:
            self.btf.broken(f"type {type_id} is an array of {length} elements of {size} bytes")
        # DWARF gives a flexible array no length, BTF gives it 0.
        return self._prog.array_type(element, length) if length else self._prog.array_type(element)

    def _compound(
        self, type_id: int, name: str, kind: Kind, count: int, flag: bool, size: int, depth: int
    ) -> drgn.Type:
        """Make a structure or union. Unnamed members are made now, as they must not be a circle."""
        words, members, total = self.btf.after(type_id), [], count
        for at in range(0, 3 * count, 3):
            member_name, inner, offset = words[at : at + 3]
            bits = offset >> 24 if flag else 0
            if flag:
                offset &= 0xFFFFFF
            text = self.btf.string(member_name)
            if offset > 8 * size:
                self.btf.broken(f"member {text!r} of type {type_id} is at bit {offset}")
            if not text and not bits:
                self.make(inner, depth)
                total += self._count(inner)
            make = partial(self._member, inner, bits)
            members.append(drgn.TypeMember(make, text or None, offset))
        if total > _MAX_MEMBERS:
            self.btf.broken(f"type {type_id} has {total} members")
        self._members[type_id] = total
        new: Callable[..., drgn.Type]
        new = self._prog.struct_type if kind is Kind.STRUCT else self._prog.union_type
        return new(name or None, size, members)

    def _count(self, type_id: int) -> int:
        if self._base is not None and type_id < self.btf.first:
            return self._base._count(type_id)
        return self._members.get(type_id, 0)

    def _member(self, type_id: int, bits: int) -> drgn.Type | drgn.Object:
        made = self.make(type_id)
        if not bits:
            return made
        try:
            return drgn.Object(self._prog, made, bit_field_size=bits)
        except (ValueError, TypeError) as error:
            self.btf.broken(f"a bit field of {bits} bits of type {type_id} cannot be: {error}")

    def _declared(self, name: str, is_union: bool) -> drgn.Type:
        """Return the type that a declaration stands for, if it is known and the only one."""
        kind = Kind.UNION if is_union else Kind.STRUCT
        owner: Types | None = self
        while owner is not None:
            found = [i for i in owner.btf.ids(name) if owner.btf.head(i)[1] is kind]
            if len(found) == 1:
                return owner.make(found[0])
            owner = owner._base
        return self._prog.union_type(name) if is_union else self._prog.struct_type(name)

    def _enumeration(
        self, type_id: int, name: str, kind: Kind, signed: bool, size: int
    ) -> drgn.Type:
        words = self.btf.after(type_id)
        step, bits = (2, 32) if kind is Kind.ENUM else (3, 64)
        values = []
        for at in range(0, len(words), step):
            value = words[at + 1] | (words[at + 2] << 32 if step == 3 else 0)
            values.append((self.btf.string(words[at]), value))
        if not values:
            return self._prog.enum_type(name or None)
        if kind is Kind.ENUM and not signed and any(value >> 31 for _, value in values):
            signed = not self.btf.marks_signed()  # before pahole 1.24 all were signed
        integer = _ENUM_TYPES.get((size, signed))
        if integer is None:
            self.btf.broken(f"type {type_id} is an enumeration of {size} bytes")
        limit = 1 << bits
        entries = [
            drgn.TypeEnumerator(text, value - limit if signed and value >> bits - 1 else value)
            for text, value in values
        ]
        plain = self._prog.int_type(integer, size, signed)
        return self._prog.enum_type(name or None, plain, entries)

    def _prototype(self, type_id: int, returned: int, depth: int) -> drgn.Type:
        words = self.btf.after(type_id)
        pairs = [(words[at], words[at + 1]) for at in range(0, len(words), 2)]
        variadic = bool(pairs) and pairs[-1] == (0, 0)
        parameters = [
            drgn.TypeParameter(partial(self.make, inner), self.btf.string(name) or None)
            for name, inner in (pairs[:-1] if variadic else pairs)
        ]
        return self._prog.function_type(self.make(returned, depth), parameters, variadic)


def _drgn_kind(btf: Btf, type_id: int) -> drgn.TypeKind | None:
    """Return drgn's kind of a type that a name can mean."""
    _, kind, _, flag, _ = btf.head(type_id)
    if kind is Kind.FWD:
        return drgn.TypeKind.UNION if flag else drgn.TypeKind.STRUCT
    if kind is Kind.INT and btf.after(type_id)[0] >> 24 & _INT_BOOL:
        return drgn.TypeKind.BOOL
    return {
        Kind.INT: drgn.TypeKind.INT,
        Kind.FLOAT: drgn.TypeKind.FLOAT,
        Kind.STRUCT: drgn.TypeKind.STRUCT,
        Kind.UNION: drgn.TypeKind.UNION,
        Kind.ENUM: drgn.TypeKind.ENUM,
        Kind.ENUM64: drgn.TypeKind.ENUM,
        Kind.TYPEDEF: drgn.TypeKind.TYPEDEF,
    }.get(kind)


def _has_size(kind: drgn.Type) -> bool:
    while kind.kind is drgn.TypeKind.TYPEDEF:
        kind = kind.type
    return kind.kind not in (drgn.TypeKind.VOID, drgn.TypeKind.FUNCTION) and kind.is_complete()
