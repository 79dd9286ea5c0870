# SPDX-License-Identifier: GPL-2.0-or-later
"""The areas of vmalloc space: ``struct vmap_area`` and its ``struct vm_struct``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import drgn

from pageproof.find.bounded import DamagedError, list_entries, rb_find
from pageproof.space.units import PAGE_BYTES

#: Flags of include/linux/vmalloc.h. They are macros, which DWARF does not have. Kernels 5.10 to 7.2
#: have the same values.
VM_IOREMAP: Final = 0x1
VM_ALLOC: Final = 0x2
VM_MAP: Final = 0x4
VM_USERMAP: Final = 0x8
VM_DMA_COHERENT: Final = 0x10
VM_UNINITIALIZED: Final = 0x20
VM_NO_GUARD: Final = 0x40
VM_KASAN: Final = 0x80
VM_FLUSH_RESET_PERMS: Final = 0x100
VM_MAP_PUT_PAGES: Final = 0x200
VM_ALLOW_HUGE_VMAP: Final = 0x400
VM_SPARSE: Final = 0x1000

_AREA: Final = "struct vmap_area"
#: ``nr_vmap_nodes`` is a power of 2, at most 128 (``vmap_init_nodes()`` of mm/vmalloc.c).
_MAX_NODES: Final = 1 << 10


@dataclass(frozen=True)
class VmapArea:
    """One area.

    Attributes:
        end: address after the last page, the guard page included.
        has_vm: it has a ``struct vm_struct``. An area of vm_map_ram() has none, and the members
            below are 0.
        flags: ``VM_*``.
        caller: return address of the call that made the area.
        nr_pages: length of the array ``pages``.
        pages: address of an array of ``struct page *``; 0 for none.
        physical: physical address that ioremap() mapped; 0 for none.
    """

    start: int
    end: int
    has_vm: bool
    flags: int = 0
    caller: int = 0
    nr_pages: int = 0
    pages: int = 0
    physical: int = 0

    @property
    def mapped_end(self) -> int:
        """Address after the last page, without the guard page."""
        guarded = self.has_vm and not self.flags & VM_NO_GUARD
        return self.end - PAGE_BYTES if guarded else self.end


def read_area(area: drgn.Object) -> VmapArea:
    """Read a ``struct vmap_area *`` with one read, and its ``struct vm_struct`` with another.

    Raises:
        FaultError: one of them cannot be read.
    """
    one = area[0].read_()
    start, end, vm = one.va_start.value_(), one.va_end.value_(), one.vm
    if not vm:
        return VmapArea(start, end, has_vm=False)
    facts = vm[0].read_()
    return VmapArea(
        start,
        end,
        has_vm=True,
        flags=facts.flags.value_(),
        caller=facts.caller.value_(),
        nr_pages=facts.nr_pages.value_(),
        pages=facts.pages.value_(),
        physical=facts.phys_addr.value_(),
    )


def all_areas(prog: drgn.Program) -> Iterator[drgn.Object]:
    """Yield ``struct vmap_area *`` of all areas.

    Raises:
        FaultError: a link cannot be read.
        DamagedError: a list does not end at its head. An area that is freed during the walk is
            moved to the list of free space.
    """
    nodes = _nodes(prog)
    if nodes is None:
        yield from list_entries(_AREA, prog["vmap_area_list"].address_of_(), "list")
        return
    for node in nodes:
        yield from list_entries(_AREA, node.busy.head.address_of_(), "list")


def area_at(prog: drgn.Program, address: int) -> VmapArea | None:
    """Return the area that contains an address; None if there is none.

    Raises:
        FaultError: a node cannot be read.
        DamagedError: a tree does not end.
    """
    nodes = _nodes(prog)
    if nodes is None:
        found = _find(prog["vmap_area_root"], address)
        return read_area(found) if found else None
    # An area is in the node of its start, which may differ from the node of the address.
    first = address // _zone_bytes(prog)
    for number in range(len(nodes)):
        found = _find(nodes[(first + number) % len(nodes)].busy.root, address)
        if found:
            return read_area(found)
    return None


def _find(root: drgn.Object, address: int) -> drgn.Object:
    return rb_find(_AREA, root.address_of_(), "rb_node", address, _order)


def _order(address: int, area: drgn.Object) -> int:
    if address < int(area.va_start.value_()):
        return -1
    return int(address >= int(area.va_end.value_()))


def _nodes(prog: drgn.Program) -> list[drgn.Object] | None:
    """Return ``struct vmap_node`` of each node.

    None before 6.9: d093602919ad ("mm: vmalloc: remove global vmap_area_root rb-tree").

    Raises:
        DamagedError: the count of nodes is not valid.
    """
    try:
        nodes = prog["vmap_nodes"]
    except LookupError:
        return None
    try:
        first, count = nodes.read_(), int(prog["nr_vmap_nodes"])
    except drgn.ObjectAbsentError:
        # A kernel for one CPU has one node, and the compiler may have optimized the pointer out.
        return [prog.variable("single", "mm/vmalloc.c")]
    if not 0 < count <= _MAX_NODES:
        raise DamagedError(f"nr_vmap_nodes is {count}")
    return [first[number] for number in range(count)]


def _zone_bytes(prog: drgn.Program) -> int:
    try:
        return max(int(prog["vmap_zone_size"]), 1)
    except drgn.ObjectAbsentError:
        return 1
