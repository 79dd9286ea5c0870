# SPDX-License-Identifier: GPL-2.0-or-later
"""BPF maps that processes map: arrays (including global data), ring buffers, arenas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import drgn
from drgn import cast, offsetof

from pageproof.find.shared.finder import Claim, Finder, UnknownPart, adjoining, owner_of
from pageproof.space.units import PAGE_BYTES

#: ``BPF_F_MMAPABLE``, part of the kernel's ABI.
_MMAPABLE: Final = 0x400
_U32: Final = (1 << 32) - 1
#: Half of ``GUARD_SZ`` of kernel/bpf/arena.c: the range of the 16-bit offset of an instruction.
_ARENA_GUARD_BYTES: Final = 1 << 15


@dataclass(frozen=True)
class _Part:
    """The layout of one type of map.

    Attributes:
        name: name of the region's part.
        struct: the C type that begins with ``struct bpf_map``.
        pages: number of pages that can be mapped.
        address: kernel address of the first page; the pages are contiguous.
    """

    name: str
    struct: str
    pages: Callable[[drgn.Object], int]
    address: Callable[[drgn.Object], int]


def _array_pages(array: drgn.Object) -> int:
    """Return the size that ``array_map_mmap()`` allows; 0 if the array cannot be mapped."""
    if not int(array.map.map_flags) & _MMAPABLE:
        return 0
    return -(-int(array.map.max_entries) * int(array.elem_size) // PAGE_BYTES)


def _ring_pages(ring: drgn.Object) -> int:
    """Return two pages of positions plus the data twice (``bpf_ringbuf_area_alloc()``)."""
    return 2 + 2 * int(ring.map.max_entries) // PAGE_BYTES


def _ring_address(ring: drgn.Object) -> int:
    """Return the address of the first page that can be mapped (``RINGBUF_PGOFF``)."""
    offset = offsetof(ring.rb.type_.type, "consumer_pos")
    return int(ring.rb.value_()) + int(offset)


def _arena_pages(arena: drgn.Object) -> int:
    return (int(arena.user_vm_end) - int(arena.user_vm_start)) // PAGE_BYTES


def _arena_address(arena: drgn.Object) -> int:
    """Return the address at which ``arena_vm_fault()`` maps the first page of the arena."""
    kernel_start = int(arena.kern_vm.addr.value_()) + _ARENA_GUARD_BYTES
    return kernel_start + (int(arena.user_vm_start) & _U32)


_ARRAY: Final = _Part(
    "array", "struct bpf_array", _array_pages, lambda array: int(array.value.address_)
)
_RING: Final = _Part("ringbuf", "struct bpf_ringbuf_map", _ring_pages, _ring_address)
_ARENA: Final = _Part("arena", "struct bpf_arena", _arena_pages, _arena_address)
#: By name of the enumerator, because older kernels have fewer.
_PARTS: Final = {
    "BPF_MAP_TYPE_ARRAY": _ARRAY,
    "BPF_MAP_TYPE_RINGBUF": _RING,
    "BPF_MAP_TYPE_USER_RINGBUF": _RING,  # since 6.1: 583c1f420173
    "BPF_MAP_TYPE_ARENA": _ARENA,  # since 6.9: 317460317a02
}


def _claim(vma: drgn.Object) -> Claim | None:
    bpf_map = cast("struct bpf_map *", vma.vm_file.private_data)
    kind = _type_name(bpf_map)
    part = _PARTS.get(kind)
    pages = part.pages(cast(f"{part.struct} *", bpf_map)) if part else 0
    if part is None or not pages:
        raise UnknownPart(f"a map of type {kind or int(bpf_map.map_type)}")
    name = bpf_map.name.string_().decode("utf-8", "replace")
    return Claim(
        owner=bpf_map.value_(),
        owner_type=part.struct,
        part=part.name,
        name=f"{name or 'unnamed'}, BPF map {int(bpf_map.id)}",
        pages=pages,
        first_page=int(vma.vm_pgoff),
    )


def _type_name(bpf_map: drgn.Object) -> str:
    number = int(bpf_map.map_type)
    names = {one.value: str(one.name) for one in bpf_map.map_type.type_.enumerators or ()}
    return names.get(number, "")


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return contiguous addresses.

    A page of an arena that was never touched has an address too, but is not mapped.
    """
    (part,) = {one for one in _PARTS.values() if one.name == claim.part}
    return adjoining(part.address(owner_of(prog, claim)), claim.pages)


BPF: Final = Finder(
    kind="bpf",
    help="BPF arrays, ring buffers and arenas",
    operations=("bpf_map_fops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    linear=("vm_file",),
)
