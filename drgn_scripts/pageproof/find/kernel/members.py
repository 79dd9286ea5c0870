# SPDX-License-Identifier: GPL-2.0-or-later
"""Members of a C type: where they are, and their values in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import drgn

from pageproof.errors import PageproofError
from pageproof.find.kernel.debuginfo import plain_type
from pageproof.find.words import text_words
from pageproof.model.asked import MEMBER

#: Structs in structs whose members are looked at; the kernel's are less deep.
_DEEPEST: Final = 6
#: Bytes that are shown of a value without a type.
_SHOWN_BYTES: Final = 16
_STRUCTS: Final = (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION, drgn.TypeKind.CLASS)


class Member(NamedTuple):
    """A member of a type, or some elements of one that is an array.

    Attributes:
        name: as shown: "id" of the type itself, "rztee_kreq.id" of a struct in it.
        path: names from the type down to it.
        offset: of the first byte.
        length: in bytes; of a bit field, of the bytes that contain it.
        kind: its type; None for a bit field, which is shown as bytes.
    """

    name: str
    path: tuple[str, ...]
    offset: int
    length: int
    kind: drgn.Type | None


def find_type(prog: drgn.Program, name: str) -> drgn.Type:
    """Return a C type by its name; a bare tag is tried as a struct.

    Raises:
        PageproofError: there is no such type, or its size is not known.
    """
    for text in (name, f"struct {name}"):
        try:
            found = prog.type(text)
        except (LookupError, SyntaxError):
            continue
        if plain_type(found).kind in _STRUCTS and not found.is_complete():
            continue
        return found
    raise PageproofError(
        "the target has no such type",
        f"--type {name!r}",
        "write it as in C, such as 'struct foo', and give debug info that has it with -s",
    )


def members_of(kind: drgn.Type) -> tuple[Member, ...]:
    """Return all members of a type, with those of structs in it instead of these structs."""
    return tuple(_members(plain_type(kind), (), "", 0, _DEEPEST))


def _members(
    kind: drgn.Type, path: tuple[str, ...], owner: str, base: int, depth: int
) -> Iterator[Member]:
    for one in kind.members or ():
        inner = plain_type(one.type)
        names = (*path, one.name) if one.name else path
        offset = base + one.bit_offset // 8
        if inner.kind in _STRUCTS and depth:
            # Of a struct without a name, the members are those of the one around it.
            inside = (inner.tag or one.name or owner) if one.name else owner
            yield from _members(inner, names, inside, offset, depth - 1)
        elif one.name:
            name = f"{owner}.{one.name}" if owner else one.name
            if one.bit_field_size is not None:
                end = -(-(one.bit_offset + one.bit_field_size) // 8)
                yield Member(name, names, offset, base + end - offset, None)
            elif length := drgn.sizeof(one.type):  # not a flexible array
                yield Member(name, names, offset, length, one.type)


def find_member(prog: drgn.Program, kind: drgn.Type, text: str) -> Member:
    """Return the member that a text names.

    A name in a struct in the type is enough if only one has it; so is a path with the names of
    members or of the struct: ``id``, ``req.id``, ``rztee_kreq.id``. ``[2]`` and ``[0:8]`` are
    elements of an array.

    Raises:
        PageproofError: there is no such member, several have the name, or it has no such elements.
    """
    where = f"--field {text}"
    match = MEMBER.fullmatch(text)
    if match is None:
        raise PageproofError("this is not a member", where, "write it as in C, or as payload[0:8]")
    path = match["path"]
    every = members_of(kind)
    exact = [one for one in every if path in (".".join(one.path), one.name)]
    found = exact or [one for one in every if _ends_with(one, path)]
    if not found:
        known = ", ".join(one.name for one in every[:20])
        raise PageproofError(f"{kind.type_name()} has no such member", where, f"it has {known}")
    if len(found) > 1:
        several = ", ".join(".".join(one.path) for one in found)
        raise PageproofError("several members have this name", where, f"write one of {several}")
    if match["first"] is None:
        return found[0]
    return _elements(prog, found[0], match, where)


def _ends_with(one: Member, path: str) -> bool:
    return f".{'.'.join(one.path)}".endswith(f".{path}") or f".{one.name}".endswith(f".{path}")


def _elements(prog: drgn.Program, one: Member, match: re.Match[str], where: str) -> Member:
    array = None if one.kind is None else plain_type(one.kind)
    if array is None or array.kind is not drgn.TypeKind.ARRAY:
        raise PageproofError("this member is not an array", where)
    count = array.length or 0
    first = int(match["first"])
    end = first + 1 if match["end"] is None else int(match["end"])
    if not first < end <= count:
        raise PageproofError(f"the array has {count} elements, from 0", where)
    size = drgn.sizeof(array.type)
    kind = array.type if match["end"] is None else prog.array_type(array.type, end - first)
    brackets = match[0][len(match["path"]) :]
    return Member(
        one.name + brackets, one.path, one.offset + first * size, (end - first) * size, kind
    )


def bytes_member(offset: int, length: int) -> Member:
    """Return bytes without a type."""
    last = offset + length - 1
    name = f"byte {offset}" if length == 1 else f"bytes {offset} to {last}"
    return Member(name, (), offset, length, None)


@dataclass(frozen=True)
class Enumerated:
    """An integer member whose values are those of an enum that its type does not name.

    Attributes:
        member: its name.
        enum: "enum umh_shm_state".
        prefix: of the enumerators, which is left out.
    """

    member: str
    enum: str
    prefix: str = ""


class MemberWords:
    """Values of members in words.

    Args:
        prog: the target.
        enums: integers with names.
    """

    def __init__(self, prog: drgn.Program, enums: Sequence[Enumerated] = ()) -> None:
        self._prog = prog
        self._names = {one.member: _enumerators(prog, one) for one in enums}

    def words(self, one: Member, data: bytes) -> str:
        """Return the value of a member in words; its first bytes in hex if it has no type."""
        if one.kind is None or len(data) != one.length:
            return bytes_words(data)
        value = drgn.Object.from_bytes_(self._prog, one.kind, data)
        plain = plain_type(one.kind)
        if plain.kind is drgn.TypeKind.INT:
            number = int(value.value_())
            return self._names.get(one.name, {}).get(number, str(number))
        if plain.kind is drgn.TypeKind.POINTER:
            return f"{int(value.value_()):#x}"
        if plain.kind is drgn.TypeKind.ARRAY and _is_text(plain.type):
            return f'"{text_words(data)}"'
        if plain.kind in (drgn.TypeKind.BOOL, drgn.TypeKind.ENUM, drgn.TypeKind.FLOAT):
            return str(value.format_(type_name=False))
        return bytes_words(data)


def _is_text(kind: drgn.Type) -> bool:
    """Return whether an element is a char; u8 is a typedef of unsigned char, and a number."""
    return kind.kind is drgn.TypeKind.INT and kind.size == 1 and kind.name.endswith("char")


def _enumerators(prog: drgn.Program, one: Enumerated) -> dict[int, str]:
    try:
        every = prog.type(one.enum).enumerators or ()
    except LookupError:
        return {}
    return {each.value: each.name.removeprefix(one.prefix) for each in every}


def bytes_words(data: bytes) -> str:
    """Return bytes in hex, no more than a few."""
    text = data[:_SHOWN_BYTES].hex(" ", 2)
    return text if len(data) <= _SHOWN_BYTES else f"{text} …"
