# SPDX-License-Identifier: GPL-2.0-or-later
"""Members of many structures, through pointers: ``owner.nsproxy.time_ns`` of every mm_struct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import TypeKind

from pageproof.find.bulk import bulk_of
from pageproof.find.kernel.debuginfo import plain_type

_SIZES: Final = (1, 2, 4, 8)


def follow(prog: drgn.Program, kind: str, path: str, addresses: Sequence[int]) -> dict[int, int]:
    """Read a member of many structures.

    Args:
        prog: the target.
        kind: the C type of the structures.
        path: the member, such as "context.vdso_image". A member that is a pointer is followed.
        addresses: of the structures.

    Returns:
        The values by address, without those that cannot be read. A null pointer on the way is
        not followed, and the value is 0.

    Raises:
        LookupError: there is no such member, or it is neither an integer nor a pointer.
    """
    values = list(addresses)
    unread: set[int] = set()
    for offset, size in _hops(prog.type(kind), path):
        rows = bulk_of(prog).gather(values, ((offset, size),))
        unread |= set(rows.faults)
        values = rows.column(0)
    read = enumerate(zip(addresses, values, strict=True))
    return {address: value for number, (address, value) in read if number not in unread}


def _hops(kind: drgn.Type, path: str) -> list[tuple[int, int]]:
    """Return offset and size of each read."""
    hops: list[tuple[int, int]] = []
    offset = 0
    for name in path.split("."):
        if kind.kind == TypeKind.POINTER:
            hops.append((offset, drgn.sizeof(kind)))
            kind, offset = plain_type(kind.type), 0
        if kind.kind not in (TypeKind.STRUCT, TypeKind.UNION):
            raise LookupError(f"{path}: there is no member {name}")
        member = kind.member(name)
        offset += member.offset
        kind = plain_type(member.type)
    if kind.kind not in (TypeKind.POINTER, TypeKind.INT, TypeKind.BOOL, TypeKind.ENUM):
        raise LookupError(f"{path} is not a number")
    size = drgn.sizeof(kind)
    if size not in _SIZES:
        raise LookupError(f"{path} has {size} bytes")
    return [*hops, (offset, size)]
