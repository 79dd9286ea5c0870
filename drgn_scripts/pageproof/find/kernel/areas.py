# SPDX-License-Identifier: GPL-2.0-or-later
"""``struct vmap_area`` in the kernel's lists and trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn
from drgn import NULL

from pageproof.find.bounded import DamagedError, list_entries, rb_find

_AREA: Final = "struct vmap_area"
#: ``nr_vmap_nodes`` is a power of 2 of at most 128 (``vmap_init_nodes()`` of mm/vmalloc.c).
_MAX_NODES: Final = 1 << 10


def all_areas(prog: drgn.Program) -> Iterator[drgn.Object]:
    """``struct vmap_area *`` of all areas.

    Raises:
        drgn.FaultError: a link cannot be read.
        DamagedError: a list does not end at its head: an area that is freed meanwhile leads on
            into the list of free space.
    """
    nodes = _nodes(prog)
    if nodes is None:
        yield from list_entries(_AREA, prog["vmap_area_list"].address_of_(), "list")
        return
    for node in nodes:
        yield from list_entries(_AREA, node.busy.head.address_of_(), "list")


def area_at(prog: drgn.Program, address: int) -> drgn.Object:
    """``struct vmap_area *`` that has an address; a null pointer if there is none.

    Raises:
        drgn.FaultError: a node cannot be read.
        DamagedError: a tree does not end.
    """
    nodes = _nodes(prog)
    if nodes is None:
        return _find(prog["vmap_area_root"], address)
    # An area is in the node of its start, which may be another than that of the address.
    first = address // _zone_bytes(prog)
    for number in range(len(nodes)):
        found = _find(nodes[(first + number) % len(nodes)].busy.root, address)
        if found:
            return found
    return NULL(prog, f"{_AREA} *")


def _find(root: drgn.Object, address: int) -> drgn.Object:
    return rb_find(_AREA, root.address_of_(), "rb_node", address, _order)


def _order(address: int, area: drgn.Object) -> int:
    if address < int(area.va_start.value_()):
        return -1
    return int(address >= int(area.va_end.value_()))


def _nodes(prog: drgn.Program) -> list[drgn.Object] | None:
    """``struct vmap_node`` of each node.

    None before 6.9: d093602919ad ("mm: vmalloc: remove global vmap_area_root rb-tree").

    Raises:
        DamagedError: there are more than there can be.
    """
    try:
        nodes = prog["vmap_nodes"]
    except LookupError:
        return None
    try:
        first, count = nodes.read_(), int(prog["nr_vmap_nodes"])
    except drgn.ObjectAbsentError:
        # A kernel for one CPU has one node, which the compiler may know by itself.
        return [prog.variable("single", "mm/vmalloc.c")]
    if not 0 < count <= _MAX_NODES:
        raise DamagedError(f"nr_vmap_nodes is {count}")
    return [first[number] for number in range(count)]


def _zone_bytes(prog: drgn.Program) -> int:
    try:
        return max(int(prog["vmap_zone_size"]), 1)
    except drgn.ObjectAbsentError:
        return 1
