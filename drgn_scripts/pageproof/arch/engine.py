# SPDX-License-Identifier: GPL-2.0-or-later
"""The walker of the engine in C for a form of page tables."""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pageproof.arch.paging import Paging

if TYPE_CHECKING:
    import pageproof_pagewalk

#: (paddr, bytes) of physical memory, or (paddr, length) of memory that a dump omits.
DirectMemory = Sequence[tuple[int, memoryview | int]]

#: The arguments of the engine's ``Kdump``: a dump whose headers were checked, or a part of one.
CompressedPart = tuple[memoryview, "array[int]", int, int, int, int]
#: All parts of a dump.
CompressedMemory = Sequence[CompressedPart]

#: The arguments of the engine's ``FileMemory``: a descriptor, and (paddr, length, offset) of parts.
FileMemory = tuple[int, "array[int]"]


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


class MappedFiles:
    """The mapped files that direct and compressed memory is in."""

    def __init__(self, direct: DirectMemory, compressed: CompressedMemory) -> None:
        views = [bytes_ for _, bytes_ in direct if isinstance(bytes_, memoryview)]
        views += [part[0] for part in compressed]
        self._maps = {id(one.obj): one.obj for one in views if isinstance(one.obj, mmap.mmap)}

    def trim(self) -> None:
        """Give back their pages. They count as memory of this process, and are mapped when needed.

        A page that is touched brings those around it (mm/memory.c, do_fault_around()).
        """
        for each in self._maps.values():
            each.madvise(mmap.MADV_DONTNEED)


def engine_walker(
    paging: Paging,
    read: Callable[[int, int], bytes | int] | None,
    direct: DirectMemory = (),
    compressed: CompressedMemory = (),
    file: FileMemory | None = None,
) -> pageproof_pagewalk.Walker:
    """Make the engine's walker.

    Args:
        paging: the form of the tables.
        read: reads physical memory: (paddr, length). It returns the number of a kind if it cannot.
            None: there is no other memory than what follows.
        direct: memory that needs no read.
        compressed: memory that the engine decompresses itself.
        file: memory that it reads itself; the descriptor is duplicated.

    Raises:
        ImportError: the engine was not built.
    """
    import pageproof_pagewalk as engine

    swap, form = paging.swap, paging.engine_form()
    kdump = None
    for part in compressed:
        kdump = engine.Kdump(*part, kdump)
    return engine.Walker(
        form if isinstance(form, str) else engine.Form(**form),
        bytes(paging.memory_types.index(each) for each in paging.type_table),
        encrypt_mask=paging.encrypt_mask,
        swap=None if swap is None else (swap.hwpoison, swap.migration, swap.device, swap.marker),
        zero_fills=paging.zero_fills,
        read=read,
        direct=direct,
        reserved_mask=paging.reserved_mask,
        kdump=kdump,
        file=None if file is None else engine.FileMemory(*file),
    )
