# SPDX-License-Identifier: GPL-2.0-or-later
"""Walks over damaged lists and trees end. tests/vmcore/test_damaged.py has real damage."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import drgn
import pytest

from pageproof.find.bounded import (
    DamagedError,
    hlist_entries,
    list_entries,
    rb_find,
    xa_entries,
    xa_load,
)

ROOT, LEFT, RIGHT, HEAD = 0x10000, 0x20000, 0x30000, 0x1000
#: struct xa_node of Debian's kernels: 64 slots at offset 40 of 576 bytes.
SLOTS, SLOTS_AT, NODE_BYTES = 64, 40, 576


class Memory:
    """A target with a few structures, whose words can be changed."""

    def __init__(self) -> None:
        self.prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        byte, word = (self.prog.int_type(n, s, False) for n, s in (("u8", 1), ("u64", 8)))
        self._pointer = self.prog.pointer_type(self.prog.void_type())
        self._types: dict[str, drgn.Type] = {"u64": word}
        slots = self.prog.array_type(self._pointer, SLOTS)
        self._add("xa_node", NODE_BYTES, (byte, "shift", 0), (slots, "slots", SLOTS_AT))
        self._add("xarray", 8, (self._pointer, "xa_head", 0))
        self._add("list_head", 16, (self._to("list_head"), "next", 0), (self._pointer, "prev", 8))
        self._add("hlist_node", 16, (self._to("hlist_node"), "next", 0))
        self._add("hlist_head", 8, (self._to("hlist_node"), "first", 0))
        self._add(
            "rb_node",
            24,
            (word, "color", 0),
            (self._to("rb_node"), "rb_right", 8),
            (self._to("rb_node"), "rb_left", 16),
        )
        self._add("rb_root", 8, (self._to("rb_node"), "rb_node", 0))
        for link in ("list_head", "hlist_node", "rb_node"):
            self._add(f"of_{link}", 64, (word, "key", 0), (self._types[link], "link", 16))
        self.prog.register_type_finder(
            "test", lambda prog, kinds, name, file: self._types.get(name), enable_index=0
        )

    def _to(self, name: str) -> Callable[[], drgn.Type]:
        made: list[drgn.Type] = []

        def later() -> drgn.Type:
            made[:] = made or [self.prog.pointer_type(self._types[name])]
            return made[0]

        return later

    def _add(
        self, name: str, size: int, *members: tuple[drgn.Type | Callable[[], drgn.Type], str, int]
    ) -> None:
        listed = [drgn.TypeMember(kind, member, at * 8) for kind, member, at in members]
        self._types[name] = self.prog.struct_type(name, size, listed)

    def put(self, address: int, data: bytes) -> bytearray:
        held = bytearray(data)

        def read(_: int, count: int, offset: int, __: bool) -> bytes:
            return bytes(held[offset : offset + count])

        self.prog.add_memory_segment(address, len(held), read)
        return held

    def node(self, address: int, shift: int, slots: dict[int, int]) -> None:
        words = [slots.get(number, 0) for number in range(SLOTS)]
        data = struct.pack(f"<B{SLOTS_AT - 1}x{SLOTS}Q", shift, *words)
        self.put(address, data.ljust(NODE_BYTES, b"\0"))

    def at(self, kind: str, address: int, head: int) -> drgn.Object:
        self.put(address, struct.pack("<QQ", head, 0))
        return drgn.Object(self.prog, self.prog.pointer_type(self._types[kind]), address)


def child(address: int) -> int:
    """Encode a node like ``xa_mk_node()``."""
    return address | 2


def reached(xa: drgn.Object, match: str, **more: int) -> dict[int, int]:
    found = {}
    with pytest.raises(DamagedError, match=match):
        for index, entry in xa_entries(xa, **more):
            found[index] = entry.value_()
    return found


def test_a_sound_xarray() -> None:
    """Siblings and reserved entries are not yielded; xa_load() follows siblings."""
    memory = Memory()
    xa = memory.at("xarray", HEAD, child(ROOT))
    memory.node(ROOT, 6, {0: child(LEFT), 2: child(RIGHT)})
    memory.node(LEFT, 0, {0: 0x8000, 1: 0 << 2 | 2, 2: 257 << 2 | 2, 63: 0x8100})
    memory.node(RIGHT, 0, {1: 0x8200})
    found = {index: entry.value_() for index, entry in xa_entries(xa)}
    assert found == {0: 0x8000, 63: 0x8100, 129: 0x8200}
    asked = (0, 1, 2, 63, 64, 128, 129, 1 << 12, 1 << 40)
    loaded = [xa_load(xa, index).value_() for index in asked]
    assert loaded == [0x8000, 0x8000, 0, 0x8100, 0, 0, 0x8200, 0, 0]


@pytest.mark.parametrize(("head", "there"), [(0, {}), (0x8000, {0: 0x8000}), (257 << 2 | 2, {})])
def test_an_xarray_without_a_node(head: int, there: dict[int, int]) -> None:
    xa = Memory().at("xarray", HEAD, head)
    assert {index: entry.value_() for index, entry in xa_entries(xa)} == there
    assert [xa_load(xa, index).value_() for index in (0, 1)] == [there.get(0, 0), 0]


def test_a_node_that_is_its_own_child() -> None:
    """The nodes beside it are found."""
    memory = Memory()
    xa = memory.at("xarray", HEAD, child(ROOT))
    memory.node(ROOT, 6, {0: child(LEFT), 1: child(ROOT)})
    memory.node(LEFT, 0, {5: 0x8000})
    message = f"^the entries from 64 on are missing: node {ROOT:#x} is in the tree twice$"
    assert reached(xa, message) == {5: 0x8000}
    with pytest.raises(DamagedError, match="has the shift 6"):
        xa_load(xa, 64)


def test_nodes_at_a_wrong_level() -> None:
    memory = Memory()
    xa = memory.at("xarray", HEAD, child(ROOT))
    memory.node(ROOT, 12, {0: child(LEFT), 1: child(RIGHT), 2: child(0x99000)})
    memory.node(LEFT, 0, {0: 0x8000})
    memory.node(RIGHT, 6, {0: 0x8100})
    assert reached(xa, f"0 on .*: node {LEFT:#x} has the shift 0; .*from 8192") == {4096: 0x8100}


def test_a_node_below_the_last_level() -> None:
    memory = Memory()
    xa = memory.at("xarray", HEAD, child(ROOT))
    memory.node(ROOT, 0, {0: child(LEFT), 1: 0x8000})
    assert reached(xa, f"^entry 0 is not an entry: {child(LEFT):#x}$") == {1: 0x8000}


@pytest.mark.parametrize("shift", [3, 66])
def test_a_root_without_sense(shift: int) -> None:
    memory = Memory()
    xa = memory.at("xarray", HEAD, child(ROOT))
    memory.node(ROOT, shift, {0: 0x8000})
    assert reached(xa, f"node {ROOT:#x} has the shift {shift}$") == {}


def test_more_nodes_than_there_can_be() -> None:
    memory = Memory()
    xa = memory.at("xarray", HEAD, child(ROOT))
    memory.node(ROOT, 6, {0: child(LEFT), 1: child(RIGHT)})
    memory.node(LEFT, 0, {0: 0x8000})
    memory.node(RIGHT, 0, {0: 0x8100})
    found = reached(xa, "^the entries from 64 .*more than 2 nodes$", max_nodes=2)
    assert found == {0: 0x8000}


def test_the_message_has_an_end() -> None:
    memory = Memory()
    xa = memory.at("xarray", HEAD, child(ROOT))
    memory.node(ROOT, 6, {number: child(ROOT) for number in range(SLOTS)})
    assert reached(xa, "twice; and 61 more$") == {}


def link(address: int) -> int:
    return address + 16


Walk = Callable[[Memory, drgn.Object], list[int]]


def keys_of(kind: str, walk: Callable[..., Iterator[drgn.Object]]) -> Walk:
    def keys(memory: Memory, head: drgn.Object) -> list[int]:
        found: list[int] = []
        try:
            for entry in walk(kind, head, "link", 10):
                found.append(int(entry.key))
        except DamagedError as error:
            assert "list" in str(error)
            found.append(-1)
        return found

    return keys


LISTED = keys_of("struct of_list_head", list_entries)
HASHED = keys_of("struct of_hlist_node", hlist_entries)


@pytest.mark.parametrize(
    ("last", "keys"),
    [
        pytest.param(HEAD, [1, 2], id="sound"),
        pytest.param(link(ROOT), [1, 2, -1], id="circle"),
        pytest.param(link(LEFT), [1, 2, -1], id="own successor"),
        pytest.param(0, [1, 2, -1], id="null"),
    ],
)
def test_lists(last: int, keys: list[int]) -> None:
    memory = Memory()
    head = memory.at("list_head", HEAD, link(ROOT))
    memory.put(ROOT, struct.pack("<8Q", 1, 0, link(LEFT), 0, 0, 0, 0, 0))
    memory.put(LEFT, struct.pack("<8Q", 2, 0, last, 0, 0, 0, 0, 0))
    assert LISTED(memory, head) == keys


@pytest.mark.parametrize(("last", "keys"), [(0, [1, 2]), (link(ROOT), [1, 2, -1])])
def test_hash_lists(last: int, keys: list[int]) -> None:
    memory = Memory()
    head = memory.at("hlist_head", HEAD, link(ROOT))
    memory.put(ROOT, struct.pack("<8Q", 1, 0, link(LEFT), 0, 0, 0, 0, 0))
    memory.put(LEFT, struct.pack("<8Q", 2, 0, last, 0, 0, 0, 0, 0))
    assert HASHED(memory, head) == keys


def test_a_list_of_too_many() -> None:
    memory = Memory()
    head = memory.at("list_head", HEAD, link(ROOT))
    for number in range(12):
        at = ROOT + number * 64
        memory.put(at, struct.pack("<8Q", number, 0, link(at + 64), 0, 0, 0, 0, 0))
    assert LISTED(memory, head) == [*range(10), -1]


def test_red_black_trees() -> None:
    memory = Memory()
    root = memory.at("rb_root", HEAD, link(ROOT))
    memory.put(ROOT, struct.pack("<8Q", 5, 0, 0, link(RIGHT), link(LEFT), 0, 0, 0))
    memory.put(LEFT, struct.pack("<8Q", 3, 0, 0, 0, link(LEFT), 0, 0, 0))
    memory.put(RIGHT, struct.pack("<8Q", 7, 0, 0, 0, 0, 0, 0, 0))

    def find(key: int) -> int:
        def order(wanted: int, entry: drgn.Object) -> int:
            return wanted - int(entry.key)

        return int(rb_find("struct of_rb_node", root, "link", key, order).value_())

    assert [find(key) for key in (5, 3, 7, 9)] == [ROOT, LEFT, RIGHT, 0]
    with pytest.raises(DamagedError, match="deeper than 128"):
        find(1)
