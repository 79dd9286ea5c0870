# SPDX-License-Identifier: GPL-2.0-or-later
"""UIO: memory for a driver in user space (drivers/uio/uio.c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast

from pageproof.find.shared.finder import Claim, Finder, adjoining, not_private, owner_of
from pageproof.find.shared.physical import kernel_sides
from pageproof.find.strings import text_of
from pageproof.space.units import PAGE_BYTES

#: ``UIO_MEM_…`` of include/linux/uio_driver.h. They are macros, which DWARF does not have.
_PHYS, _LOGICAL, _VIRTUAL, _IOVA = 1, 2, 3, 4
_DMA_COHERENT: Final = 5  # since 6.9: 576882ef5e7f
#: ``addr`` is a physical address. They differ only in caching.
_PHYSICAL: Final = (_PHYS, _IOVA)
#: ``addr`` is a kernel virtual address.
_ADDRESSED: Final = (_LOGICAL, _VIRTUAL, _DMA_COHERENT)


def _claim(vma: drgn.Object) -> Claim | None:
    """Return the map whose number is the offset; the VMA's first page is its first page.

    In the rear part of a split mapping the offset is larger than the number of the map. The kernel
    still uses it as the number (``uio_find_mem_index()``), and so does this.
    """
    not_private(vma)
    device = _device(vma.vm_file)
    info = device.info
    if not info:
        raise ValueError("the UIO device has lost its driver")
    if _has_own_mmap(info):
        raise ValueError("the driver of the UIO device maps it with a function of its own")
    number = int(vma.vm_pgoff)
    if number >= len(info.mem) or not info.mem[number].size:
        raise ValueError(f"the UIO device has no map {number}: the rest of a split mapping?")
    mem = info.mem[number]
    label = text_of(mem.name) if mem.name else "unnamed"
    name = text_of(device.dev.kobj.name)
    return Claim(
        owner=device.value_(),
        owner_type="struct uio_device",
        part=f"map{number}",
        name=f"{name} map {number}, {label}",
        pages=-(-(int(mem.addr) % PAGE_BYTES + int(mem.size)) // PAGE_BYTES),
        first_page=0,
    )


def _has_own_mmap(info: drgn.Object) -> bool:
    """Return whether the driver maps its memory with a function of its own."""
    try:
        # 933f05f58ac6 ("uio: replace deprecated mmap hook with mmap_prepare in uio_info")
        hook = info.mmap_prepare
    except AttributeError:
        hook = info.mmap
    return bool(hook)


def _device(file: drgn.Object) -> drgn.Object:
    """Return ``struct uio_device *``, the first member of ``struct uio_listener``.

    Only uio.ko has the type of the listener. Drivers have the type of the device too.
    """
    return cast("struct uio_device **", file.private_data)[0]


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    """Return the addresses of a map, as in ``uio_mmap()`` and ``uio_vma_fault()``."""
    mem = owner_of(prog, claim).info.mem[int(claim.part.removeprefix("map"))]
    address, kind = int(mem.addr) & -PAGE_BYTES, int(mem.memtype)
    if kind in _PHYSICAL:
        return kernel_sides(prog, address // PAGE_BYTES, claim.pages)
    if kind in _ADDRESSED:
        return adjoining(address, claim.pages)
    raise ValueError(f"unknown type of memory {kind}")


UIO: Final = Finder(
    kind="uio",
    help="memory of UIO devices",
    operations=("uio_fops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
    module="uio",
)
