# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree of VMAs, on trees made by hand. The tests of `maps` use real ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import drgn
import pytest

from pageproof.find.bounded import DamagedError
from pageproof.find.bulk.vmawalk import for_each_vma

MM, ROOT, LEFT, RIGHT = 0x1000, 0x10000, 0x10100, 0x10200
LEAF, RANGE, ARANGE = 1, 2, 3
LAST = (1 << 64) - 1


def enode(address: int, kind: int) -> int:
    """Encode a node like mt_mk_node() of lib/maple_tree.c."""
    return address | kind << 3 | 4


def root_of(address: int, kind: int) -> int:
    return enode(address, kind) | 2


def range_node(pivots: Sequence[int], slots: Sequence[int]) -> bytes:
    """Return struct maple_range_64. If a slot is free, the metadata is in the last one."""
    data = struct.pack("<Q15Q", 0, *pivots, *[0] * (15 - len(pivots)))
    filled = [*slots, *[0] * (16 - len(slots))]
    if len(slots) < 16:
        filled[15] = len(slots) - 1
    return data + struct.pack("<16Q", *filled)


def arange_node(pivots: Sequence[int], slots: Sequence[int]) -> bytes:
    """Return struct maple_arange_64."""
    data = struct.pack("<Q9Q", 0, *pivots, *[0] * (9 - len(pivots)))
    data += struct.pack("<10Q10Q", *slots, *[0] * (10 - len(slots)), *[0] * 10)
    return data + struct.pack("<BB6x", len(slots) - 1, 0)


def address_space(root: int, nodes: dict[int, bytes], count: int = 0) -> drgn.Object:
    """Return an mm_struct with a tree of these nodes, and a count of VMAs."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    memory = {MM: struct.pack("<Qi4x", root, count), **nodes}
    for start, data in memory.items():

        def read(
            address: int, count: int, offset: int, physical: bool, data: bytes = data
        ) -> bytes:
            return data[offset : offset + count]

        prog.add_memory_segment(start, len(data), read)
    byte, word = prog.int_type("unsigned char", 1, False), prog.int_type("unsigned long", 8, False)
    pointer = prog.pointer_type(prog.void_type())

    def record(
        name: str | None, size: int, *members: tuple[drgn.Type, str | None, int]
    ) -> drgn.Type:
        listed = [drgn.TypeMember(kind, member, at * 8) for kind, member, at in members]
        return prog.struct_type(name, size, listed)

    meta = record("maple_metadata", 2, (byte, "end", 0), (byte, "gap", 1))
    union = prog.union_type(
        None,
        128,
        [
            drgn.TypeMember(prog.array_type(pointer, 16), "slot"),
            drgn.TypeMember(record(None, 128, (meta, "meta", 120))),
        ],
    )
    types = {
        "maple_range_64": record(
            "maple_range_64", 256, (prog.array_type(word, 15), "pivot", 8), (union, None, 128)
        ),
        "maple_arange_64": record(
            "maple_arange_64",
            248,
            (prog.array_type(word, 9), "pivot", 8),
            (prog.array_type(pointer, 10), "slot", 80),
            (meta, "meta", 240),
        ),
        "vm_area_struct": prog.struct_type("vm_area_struct", None, None),
    }
    prog.register_type_finder(
        "test", lambda prog, kinds, name, file: types.get(name), enable_index=0
    )
    tree = record("maple_tree", 8, (pointer, "ma_root", 0))
    number = prog.int_type("int", 4, True)
    kind = record("mm_struct", 16, (tree, "mm_mt", 0), (number, "map_count", 8))
    return drgn.Object(prog, kind, address=MM)


def vmas(mm: drgn.Object) -> list[int]:
    return [vma.value_() for vma in for_each_vma(mm)]


def test_leaves_below_a_node_are_in_order() -> None:
    nodes = {
        ROOT: arange_node([0x4FFF, LAST], [enode(LEFT, LEAF), enode(RIGHT, LEAF)]),
        LEFT: range_node([0xFFF, 0x2FFF], [0, 0x8000, 0x8100]),
        RIGHT: range_node([0x5FFF, 0x6FFF], [0x8200, 0, 0x8300]),
    }
    assert vmas(address_space(root_of(ROOT, ARANGE), nodes)) == [0x8000, 0x8100, 0x8200, 0x8300]


@pytest.mark.parametrize("full", [15, 16])
def test_a_node_without_room_for_its_metadata(full: int) -> None:
    """The last pivot is the end of the node's range, or another slot follows it."""
    slots = [0x8000 + 0x100 * number for number in range(full)]
    pivots = [0x1000 * (number + 1) - 1 for number in range(14)]
    pivots.append(LAST if full == 15 else 0xFFFF)
    leaf = range_node(pivots, [*slots, 0x9999] if full == 15 else slots)
    assert vmas(address_space(root_of(LEFT, LEAF), {LEFT: leaf})) == slots


def test_what_is_reserved_is_no_vma() -> None:
    leaf = range_node([0xFFF, 0x1FFF], [0x8000, 257 << 2 | 2, 0x8100])
    assert vmas(address_space(root_of(LEFT, LEAF), {LEFT: leaf})) == [0x8000, 0x8100]


def test_no_vma() -> None:
    assert vmas(address_space(0, {})) == []


def reached(mm: drgn.Object, match: str) -> list[int]:
    """Return the VMAs of a damaged tree that are yielded before the error."""
    found = []
    with pytest.raises(DamagedError, match=match):
        for vma in for_each_vma(mm):
            found.append(vma.value_())
    return found


def test_a_tree_that_leads_back_to_itself() -> None:
    """VMAs outside the circle are found."""
    nodes = {
        ROOT: range_node([0xFFF, 0x1FFF], [enode(ROOT, RANGE), enode(LEFT, LEAF), enode(ROOT, 2)]),
        LEFT: range_node([0xFFF], [0x8000, 0]),
    }
    mm = address_space(root_of(ROOT, RANGE), nodes, 1)
    message = r"node 0x10000 of the tree of VMAs is in it twice; node 0x10000 of"
    assert reached(mm, message) == [0x8000]


def test_a_vma_that_is_in_the_tree_twice() -> None:
    nodes = {LEFT: range_node([0xFFF, 0x1FFF], [0x8000, 0x8100, 0x8000])}
    mm = address_space(root_of(LEFT, LEAF), nodes, 2)
    assert reached(mm, "VMA 0x8000 is in the tree twice$") == [0x8000, 0x8100]


def test_a_node_of_another_kind() -> None:
    mm = address_space(root_of(ROOT, 4), {ROOT: bytes(256)})
    assert reached(mm, "node 0x10000 of the tree of VMAs: the unknown type 4") == []


def test_a_node_that_can_not_be_read() -> None:
    assert reached(address_space(root_of(ROOT, ARANGE), {}), "node 0x10000 of the tree") == []


def test_a_tree_that_lost_vmas() -> None:
    """A node of zeros is an empty leaf."""
    mm = address_space(root_of(LEFT, LEAF), {LEFT: bytes(256)}, 3)
    assert reached(mm, r"^only 0 of 3 VMAs \(mm->map_count\) were found$") == []


def test_more_vmas_than_the_count() -> None:
    """mmap() inserts a VMA before it counts it."""
    leaf = range_node([0xFFF], [0x8000, 0x8100])
    assert vmas(address_space(root_of(LEFT, LEAF), {LEFT: leaf}, 1)) == [0x8000, 0x8100]


def test_a_vma_of_a_list_stays_the_one_that_it_was() -> None:
    """In kernels before 6.1. A VMA that is inserted during the walk does not replace it."""
    listed, words = list_of_vmas()
    first, second = next(listed), next(listed)
    words[MM] = words[0x8000] = 0x8200
    assert [first.value_(), second.value_(), *(one.value_() for one in listed)] == [0x8000, 0x8100]


def test_a_list_that_goes_in_circles() -> None:
    listed, words = list_of_vmas()
    words[0x8100] = 0x8000
    assert [next(listed).value_(), next(listed).value_()] == [0x8000, 0x8100]
    with pytest.raises(DamagedError, match="the list of VMAs goes in circles at 0x8000"):
        next(listed)


def list_of_vmas() -> tuple[Iterator[drgn.Object], dict[int, int]]:
    """Return an address space with a list of two VMAs, and the memory that holds it."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    words = {MM: 0x8000, MM + 8: 2, 0x8000: 0x8100, 0x8100: 0, 0x8200: 0x8100}
    for start in words:

        def read(
            address: int, count: int, offset: int, physical: bool, start: int = start
        ) -> bytes:
            return struct.pack("<Q", words[start])

        prog.add_memory_segment(start, 8, read)
    pointer: drgn.Type
    vma = prog.struct_type("vm_area_struct", 8, [drgn.TypeMember(lambda: pointer, "vm_next")])
    pointer = prog.pointer_type(vma)
    count = prog.int_type("long", 8, True)
    members = [drgn.TypeMember(pointer, "mmap"), drgn.TypeMember(count, "map_count", 64)]
    kind = prog.struct_type("mm_struct", 16, members)
    return for_each_vma(drgn.Object(prog, kind, address=MM)), words
