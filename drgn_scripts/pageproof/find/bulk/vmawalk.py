# SPDX-License-Identifier: GPL-2.0-or-later
"""The VMAs of an address space as drgn objects, with one read for each node of their tree.

This is the slow and simple way, for :mod:`pageproof.find.bulk.objects`. The engine in C does the
same for all address spaces at once (c-helper/pagewalk).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import drgn

from pageproof.find.bounded import DamagedError, Losses

#: ``enum maple_type`` and the bits of a ``maple_enode`` (include/linux/maple_tree.h).
_LEAF, _RANGE, _ARANGE = 1, 2, 3
_TYPE_SHIFT, _TYPE_MASK = 3, 0xF
_NODE_BYTES: Final = 256
#: ``XA_ZERO_ENTRY`` of include/linux/xarray.h: a reserved slot without an entry.
_ZERO_ENTRY: Final = 257 << 2 | 2
_LAST_INDEX: Final = (1 << 64) - 1
#: Limits, because a tree or list that changes while it is read may lead back to itself.
#: ``vm.max_map_count`` is 65530 by default.
_MAX_NODES: Final = 1 << 17
_MAX_VMAS: Final = 1 << 20
#: Walks after the first. One takes a millisecond or two through QEMU's monitor.
_WALKS: Final = 8


def for_each_vma(mm: drgn.Object) -> Iterator[drgn.Object]:
    """Yield ``struct vm_area_struct *`` of an address space, in order of address.

    If some are missing, it raises after all reachable VMAs were yielded.

    Raises:
        FaultError: the root or the list cannot be read.
        DamagedError: some VMAs are missing, or the tree or list leads back into itself.
    """
    before = _count(mm)
    vmas, losses = _still(mm)
    yield from vmas
    # VMAs that were mapped or unmapped during the walk are not missing.
    expected = min(before, _count(mm))
    if len(vmas) < expected:
        losses.add(f"only {len(vmas)} of {expected} VMAs (mm->map_count) were found")
    losses.check()


def _still(mm: drgn.Object) -> tuple[list[drgn.Object], Losses]:
    """Return the VMAs that two consecutive walks found, and the parts that they skipped.

    The kernel copies nodes when the tree changes, so one walk may miss a VMA that exists all along.
    """
    vmas, losses = _walk(mm)
    for _ in range(_WALKS):
        before = [vma.value_() for vma in vmas]
        vmas, losses = _walk(mm)
        if [vma.value_() for vma in vmas] == before:
            return vmas, losses
    losses.add("the VMAs keep changing")
    return vmas, losses


def _walk(mm: drgn.Object) -> tuple[list[drgn.Object], Losses]:
    losses = Losses()
    vmas: list[drgn.Object] = []
    found = _in_tree_or_list(mm, losses)
    try:
        while (vma := next(found, None)) is not None:
            vmas.append(vma)
    except (drgn.FaultError, DamagedError) as error:
        losses.add(str(error))
    return vmas, losses


def _count(mm: drgn.Object) -> int:
    return int(mm.map_count)


def _in_tree_or_list(mm: drgn.Object, losses: Losses) -> Iterator[drgn.Object]:
    try:
        # Since 6.1: d4af56c5c7c6 ("mm: start tracking VMAs with maple tree")
        root = mm.mm_mt.ma_root.value_()
    except AttributeError:
        yield from _in_list(mm)
        return
    of_type = mm.prog_.type("struct vm_area_struct *")
    seen: set[int] = set()
    for entry in _entries(mm.prog_, root, losses):
        if entry in seen:
            losses.add(f"VMA {entry:#x} is in the tree twice")
            continue
        seen.add(entry)
        yield drgn.Object(mm.prog_, of_type, entry)


def _in_list(mm: drgn.Object) -> Iterator[drgn.Object]:
    """Yield the VMAs of a kernel before 6.1.

    drgn's for_each_vma() yields references. On a live system such a reference ("vma.vm_next") may
    be another VMA each time that it is read.
    """
    seen: set[int] = set()
    vma = mm.mmap.read_()
    while vma:
        if vma.value_() in seen:
            raise DamagedError(f"the list of VMAs goes in circles at {vma.value_():#x}")
        if len(seen) >= _MAX_VMAS:
            raise DamagedError(f"the list of VMAs does not end after {_MAX_VMAS}")
        seen.add(vma.value_())
        yield vma
        vma = vma.vm_next.read_()


def _entries(prog: drgn.Program, root: int, losses: Losses) -> Iterator[int]:
    if not _is_node(root):
        yield from _there([root])
        return
    seen: set[int] = set()
    todo = [(root, _LAST_INDEX)]
    while todo:
        entry, last = todo.pop()
        address = entry & -_NODE_BYTES
        if address in seen:
            losses.add(f"node {address:#x} of the tree of VMAs is in it twice")
            continue
        if len(seen) >= _MAX_NODES:
            losses.add(f"the tree of VMAs does not end after {_MAX_NODES} nodes")
            return
        seen.add(address)
        try:
            pivots, slots = _node(prog, entry, last)
        except (drgn.FaultError, ValueError) as error:
            losses.add(f"node {address:#x} of the tree of VMAs: {error}")
            continue
        if _kind(entry) == _LEAF:
            yield from _there(slots)
        else:
            below = zip(slots, (*pivots, last), strict=True)
            todo += reversed([one for one in below if one[0]])


def _there(entries: list[int]) -> Iterator[int]:
    return (entry for entry in entries if entry not in (0, _ZERO_ENTRY))


def _is_node(root: int) -> bool:
    """Return ``xa_is_node()``: an internal entry that is not a special value."""
    return root & 3 == 2 and root > 4096


def _kind(entry: int) -> int:
    return entry >> _TYPE_SHIFT & _TYPE_MASK


def _node(prog: drgn.Program, entry: int, last: int) -> tuple[list[int], list[int]]:
    """Return (pivots, slots) of a node, cut as in ``ma_data_end()`` of lib/maple_tree.c.

    A pivot is the last index of its slot. The last slot ends with the node and has no pivot.
    """
    address, kind = entry & -_NODE_BYTES, _kind(entry)
    if kind == _ARANGE:
        node = drgn.Object(prog, "struct maple_arange_64", address=address).read_()
        pivots = node.pivot.value_()
        end = int(node.meta.end)
    elif kind in (_LEAF, _RANGE):
        node = drgn.Object(prog, "struct maple_range_64", address=address).read_()
        pivots = node.pivot.value_()
        full = len(pivots) - (pivots[-1] == last)
        end = full if pivots[-1] else int(node.meta.end)
    else:
        raise ValueError(f"the unknown type {kind}")
    return pivots[:end], node.slot.value_()[: end + 1]
