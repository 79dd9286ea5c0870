# SPDX-License-Identifier: GPL-2.0-or-later
"""Walks over the kernel's lists and trees that end on any data.

In a damaged dump, or while the kernel changes it, a list may lead back to itself. drgn's own
iterators follow such a list forever: ``radix_tree_for_each()`` with growing memory, ``xa_load()``
in C, which Ctrl-C cannot interrupt. This room therefore uses only the functions here.

A walk over a tree yields everything that it can reach before it raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, TypeVar

import drgn
from drgn import NULL, container_of
from drgn.helpers.linux.mm import compound_order

#: Limit of entries; no list that is read here has more.
_MAX_ENTRIES: Final = 1 << 20
#: Limit of nodes of an XArray; each has up to 64 entries.
_MAX_NODES: Final = 1 << 20
#: Limit of depth; a red-black tree of 2^64 nodes is not deeper.
_MAX_DEPTH: Final = 128
#: Messages of a walk that are kept. Further ones are only counted.
_MAX_MESSAGES: Final = 3
_POINTER_BYTES: Final = 8
#: Order of the largest folio, a 1 GiB page of hugetlbfs (``MAX_FOLIO_ORDER`` of
#: include/linux/mmzone.h).
_MAX_ORDER: Final = 18
#: include/linux/xarray.h: ``XA_ZERO_ENTRY``; an internal entry above the second is a node.
_ZERO_ENTRY, _LAST_NO_NODE = 257 << 2 | 2, 4096
_LAST_SIBLING: Final = 256

_Key = TypeVar("_Key", contravariant=True)


class DamagedError(ValueError):
    """A list or tree of the kernel is not valid. Everything reachable was yielded before."""


class _Compare(Protocol[_Key]):
    """Return less than 0 if the key is before the entry, more if after it, 0 if it matches."""

    def __call__(self, key: _Key, entry: drgn.Object, /) -> int: ...


class Losses:
    """The parts that a walk skipped, as one message.

    Args:
        first: a message from an earlier walk; "" for none.
    """

    def __init__(self, first: str = "") -> None:
        self._messages = [first] if first else []
        self._more = 0

    def add(self, message: str) -> None:
        if len(self._messages) < _MAX_MESSAGES:
            self._messages.append(message)
        else:
            self._more += 1

    def __str__(self) -> str:
        more = f"; and {self._more} more" if self._more else ""
        return "; ".join(self._messages) + more

    def __bool__(self) -> bool:
        return bool(self._messages)

    def check(self) -> None:
        """Raise DamagedError if anything was skipped."""
        if self:
            raise DamagedError(str(self))


def list_entries(
    kind: str, head: drgn.Object, member: str, limit: int = _MAX_ENTRIES
) -> Iterator[drgn.Object]:
    """Yield the entries of a ``struct list_head``, like ``list_for_each_entry()``.

    Args:
        kind: name of the entries' type.
        head: ``struct list_head *``.
        member: name of the link in the type.
        limit: maximum number of entries.

    Raises:
        drgn.FaultError: a link cannot be read.
        DamagedError: the list does not end at its head.
    """
    type_ = head.prog_.type(kind)
    end = head.value_()
    seen: set[int] = set()
    link = head.next.read_()
    while link.value_() != end:
        _count(link.value_(), seen, limit)
        yield container_of(link, type_, member)
        link = link.next.read_()


def hlist_entries(
    kind: str, head: drgn.Object, member: str, limit: int = _MAX_ENTRIES
) -> Iterator[drgn.Object]:
    """Yield the entries of a ``struct hlist_head``; see :func:`list_entries`."""
    type_ = head.prog_.type(kind)
    seen: set[int] = set()
    link = head.first.read_()
    while link:
        _count(link.value_(), seen, limit)
        yield container_of(link, type_, member)
        link = link.next.read_()


def _count(link: int, seen: set[int], limit: int) -> None:
    if not link:
        raise DamagedError(f"a list ends in a null pointer after {len(seen)} entries")
    if link in seen:
        raise DamagedError(f"a list goes in circles at {link:#x}, after {len(seen)} entries")
    if len(seen) >= limit:
        raise DamagedError(f"a list has more than {limit} entries")
    seen.add(link)


def rb_find(
    kind: str | drgn.Type, root: drgn.Object, member: str, key: _Key, compare: _Compare[_Key]
) -> drgn.Object:
    """Return the entry of a red-black tree for a key; a null pointer if there is none.

    Args:
        kind: the entries' type, or its name.
        root: ``struct rb_root *``.
        member: name of the node in the type.
        key: first argument of `compare`.
        compare: compares the key with an entry.

    Raises:
        drgn.FaultError: a node cannot be read.
        DamagedError: the tree is too deep.
    """
    prog = root.prog_
    type_ = prog.type(kind) if isinstance(kind, str) else kind
    node = root.rb_node.read_()
    for _ in range(_MAX_DEPTH):
        if not node:
            return NULL(prog, prog.pointer_type(type_))
        entry = container_of(node, type_, member)
        order = compare(key, entry)
        if not order:
            return entry
        node = (node.rb_left if order < 0 else node.rb_right).read_()
    raise DamagedError(f"a red-black tree is deeper than {_MAX_DEPTH} nodes")


def xa_entries(xa: drgn.Object, max_nodes: int = _MAX_NODES) -> Iterator[tuple[int, drgn.Object]]:
    """Yield (index, ``void *``) of every entry of an XArray, like ``xa_for_each()``.

    A node is skipped if it cannot be read, was visited before, or does not have the shift of its
    level (``xas_create()`` of lib/xarray.c creates every level).

    Args:
        xa: ``struct xarray *``, or a ``struct radix_tree_root *``, which has the same layout since
            4.20 (f8d5d0cc145c).
        max_nodes: maximum number of nodes.

    Raises:
        DamagedError: some nodes were skipped.
    """
    for index, _, entry in xa_spans(xa, max_nodes):
        yield index, entry


def xa_spans(
    xa: drgn.Object, max_nodes: int = _MAX_NODES
) -> Iterator[tuple[int, int, drgn.Object]]:
    """Yield (index, number of indices, ``void *``) of every entry; see :func:`xa_entries`.

    Only a multi-index entry has more than one index.

    Raises:
        as :func:`xa_entries`.
    """
    walk = _XArray(xa, max_nodes)
    yield from walk.spans()
    walk.losses.check()


def xa_load(xa: drgn.Object, index: int) -> drgn.Object:
    """Return the ``void *`` entry at an index of an XArray; a null pointer if there is none.

    Raises:
        drgn.FaultError: a node cannot be read.
        DamagedError: the tree leads back up.
    """
    walk = _XArray(xa, 1)
    return drgn.Object(xa.prog_, "void *", walk.load(index))


class _XArray:
    """One walk, with one read for each node."""

    def __init__(self, xa: drgn.Object, max_nodes: int) -> None:
        self.losses = Losses()
        self._prog = xa.prog_
        self._head: int = xa.xa_head.value_()
        self._max_nodes = max_nodes
        kind = self._prog.type("struct xa_node")
        slots = kind.member("slots")
        self._slots = slots.type.length or 0
        #: ``XA_CHUNK_SHIFT``
        self._bits = self._slots.bit_length() - 1
        self._shift_at = drgn.offsetof(kind, "shift")
        self._slots_at = slots.offset
        self._length = max(self._shift_at + 1, self._slots_at + self._slots * _POINTER_BYTES)

    def spans(self) -> Iterator[tuple[int, int, drgn.Object]]:
        if not _is_node(self._head):
            if self._head not in (0, _ZERO_ENTRY):
                yield 0, 1, self._entry(self._head)
            return
        seen: set[int] = set()
        #: Nodes to visit: address, first index, and the required shift; -1 for any.
        todo = [(self._head - 2, 0, -1)]
        while todo:
            address, first, wanted = todo.pop()
            shift, slots = self._visit(address, first, wanted, seen)
            below: list[tuple[int, int, int]] = []
            for number, entry in enumerate(slots):
                index = first + (number << shift)
                if not entry or entry == _ZERO_ENTRY or _is_sibling(entry):
                    continue
                if not _is_node(entry):
                    yield index, _width(slots, number) << shift, self._entry(entry)
                elif shift:
                    below.append((entry - 2, index, shift - self._bits))
                else:
                    self.losses.add(f"entry {index} is not an entry: {entry:#x}")
            todo += reversed(below)

    def _visit(
        self, address: int, first: int, wanted: int, seen: set[int]
    ) -> tuple[int, tuple[int, ...]]:
        """Return the shift and slots of a node; no slots if it is skipped."""
        nothing: tuple[int, ...] = ()
        lost = f"the entries from {first} on are missing: "
        if address in seen:
            self.losses.add(f"{lost}node {address:#x} is in the tree twice")
            return 0, nothing
        if len(seen) >= self._max_nodes:
            self.losses.add(f"{lost}there are more than {self._max_nodes} nodes")
            return 0, nothing
        seen.add(address)
        try:
            shift, slots = self._node(address)
        except drgn.FaultError as error:
            self.losses.add(f"{lost}{error}")
            return 0, nothing
        if shift % self._bits or (shift != wanted if wanted >= 0 else shift >= 64):
            self.losses.add(f"{lost}node {address:#x} has the shift {shift}")
            return 0, nothing
        return shift, slots

    def load(self, index: int) -> int:
        entry, last = self._head, 64
        while _is_node(entry):
            shift, slots = self._node(entry - 2)
            if shift >= last:
                raise DamagedError(f"node {entry - 2:#x} of a tree has the shift {shift}")
            number = index >> shift
            # Only at the root may the index be too large.
            if last == 64 and number >= self._slots:
                return 0
            entry, last = slots[number % self._slots], shift
            if _is_sibling(entry):
                entry = slots[(entry >> 2) % self._slots]
            if not shift:
                break
        else:
            if index and last == 64:
                return 0
        return 0 if entry == _ZERO_ENTRY else entry

    def _node(self, address: int) -> tuple[int, tuple[int, ...]]:
        data = self._prog.read(address, self._length)
        slots = memoryview(data)[self._slots_at :][: self._slots * _POINTER_BYTES].cast("Q")
        return data[self._shift_at], tuple(slots)

    def _entry(self, value: int) -> drgn.Object:
        return drgn.Object(self._prog, "void *", value)


def _is_node(entry: int) -> bool:
    """Return ``xa_is_node()``."""
    return entry & 3 == 2 and entry > _LAST_NO_NODE


def _is_sibling(entry: int) -> bool:
    """Return ``xa_is_sibling()``: the slot refers to another slot of its node."""
    return entry & 3 == 2 and entry < _LAST_SIBLING


def _width(slots: tuple[int, ...], number: int) -> int:
    """Return the number of slots of an entry: its own, and the siblings that refer to it."""
    sibling = number << 2 | 2
    end = number + 1
    while end < len(slots) and slots[end] == sibling:
        end += 1
    return end - number


def compound_pages(head: drgn.Object) -> int:
    """Return the number of pages of a compound page.

    Args:
        head: ``struct page *`` of the head page.

    Raises:
        drgn.FaultError: it cannot be read.
        DamagedError: the order is too large.
    """
    order = int(compound_order(head))
    if order > _MAX_ORDER:
        raise DamagedError(f"a compound page has the order {order}")
    return 1 << order
