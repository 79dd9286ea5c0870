# SPDX-License-Identifier: GPL-2.0-or-later
"""Offsets of the kernel's structures from debug info, as plain data. The newest layout first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import drgn
from drgn import offsetof

from pageproof.find.bulk.protocol import VMA_MEMBERS, Field
from pageproof.find.kernel.debuginfo import of_program, plain_type

#: Offset of pivot, number of pivots, offset of slot, offset of meta.end.
MapleNode = tuple[int, int, int, int]

_WORD_BYTES: Final = 8


@dataclass(frozen=True)
class MmLayout:
    """Offsets in ``struct mm_struct``, and what leads to its VMAs.

    Attributes:
        first: offset of the word that leads to the tree or to the list.
        tree: ``struct maple_range_64`` and ``struct maple_arange_64``; None before 6.1.
        vm_next: offset in ``struct vm_area_struct``; None since 6.1.
        fields: of ``struct vm_area_struct``, those of VMA_MEMBERS.
    """

    pgd: int
    map_count: int
    first: int
    tree: tuple[MapleNode, MapleNode] | None
    vm_next: int | None
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class XaLayout:
    """Offsets in ``struct xa_node``, and the number of slots."""

    shift: int
    slots: int
    count: int


@of_program
def mm_layout(prog: drgn.Program) -> MmLayout:
    """Return the layout of address spaces.

    Raises:
        LookupError: debug info lacks it.
    """
    mm, vma = prog.type("struct mm_struct"), prog.type("struct vm_area_struct")
    try:
        # Since 6.1: d4af56c5c7c6 ("mm: start tracking VMAs with maple tree")
        first = offsetof(mm, "mm_mt.ma_root")
    except LookupError:
        first, tree, vm_next = offsetof(mm, "mmap"), None, offsetof(vma, "vm_next")
    else:
        vm_next = None
        tree = (
            _maple_node(prog.type("struct maple_range_64")),
            _maple_node(prog.type("struct maple_arange_64")),
        )
    return MmLayout(
        pgd=offsetof(mm, "pgd"),
        map_count=offsetof(mm, "map_count"),
        first=first,
        tree=tree,
        vm_next=vm_next,
        fields=tuple((offsetof(vma, member), _WORD_BYTES) for member in VMA_MEMBERS),
    )


def _maple_node(kind: drgn.Type) -> MapleNode:
    pivots = kind.member("pivot").type.length or 0
    return offsetof(kind, "pivot"), pivots, offsetof(kind, "slot"), offsetof(kind, "meta.end")


@of_program
def xa_layout(prog: drgn.Program) -> XaLayout:
    """Return the layout of the nodes of XArrays and radix trees.

    Raises:
        LookupError: debug info lacks it.
    """
    kind = prog.type("struct xa_node")
    return XaLayout(
        offsetof(kind, "shift"), offsetof(kind, "slots"), kind.member("slots").type.length or 0
    )


def fields_of(kind: drgn.Type, *members: str) -> tuple[Field, ...]:
    """Return the fields of a structure's members, which are integers or pointers.

    Raises:
        LookupError: the structure has no such member.
    """
    return tuple(
        (offsetof(kind, member), drgn.sizeof(_type_of(kind, member))) for member in members
    )


def _type_of(kind: drgn.Type, path: str) -> drgn.Type:
    """Return the type of a member of a member."""
    for name in path.split("."):
        kind = plain_type(kind.member(name).type)
    return kind
