# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the content of frames, if the target can provide it."""

from __future__ import annotations

from typing import Final

from pageproof.attach import Target
from pageproof.attach.patient import PatientReader, Read
from pageproof.find.kernel.layout import physmap
from pageproof.model import MemoryGap, Outcome, PagingFacts, TargetKind
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Walker

_APART: Final = "the kernel's direct map does not have it, so /proc/kcore cannot give it"


class ContentReader:
    """Reads frames of a target; of the live kernel only frames in the direct map.

    ``/proc/kcore`` reads through the direct map, also for vmalloc memory (``vread_iter()`` of
    mm/vmalloc.c). For a frame that is not in the direct map, such as one of memfd_secret(), it
    returns zeros. In vmalloc space it never returns since 6.4 (4c91c07c93bb), because
    read_kcore_iter() of fs/proc/kcore.c retries until everything was copied. The direct map may
    change between the walk and the read, so the read has a deadline.
    """

    def __init__(self, target: Target, paging: PagingFacts, walker: Walker) -> None:
        self._target, self._root, self._walker = target, paging.kernel_root, walker
        self._physmap = physmap(target.prog)
        reader = target.reader
        self._read: Read = lambda address, length, physical: (
            reader.read_physical(address, length)
            if physical
            else reader.read_kernel_virtual(address, length)
        )
        if self._is_live:
            patient = PatientReader(self._read)
            self._read = lambda address, length, physical: patient.read(
                address, length, physical=physical
            )

    @property
    def _is_live(self) -> bool:
        return self._target.facts.kind is TargetKind.LIVE

    def read_physical(self, paddr: int, length: int) -> bytes:
        """Read physical memory.

        Raises:
            MemoryGap: it cannot be read.
        """
        self._check(paddr, length)
        return self._read(paddr, length, True)

    def read_kernel_virtual(self, address: int, length: int) -> bytes:
        """Read through a kernel virtual address, if the page tables map it.

        Raises:
            MemoryGap: it cannot be read.
        """
        if self._is_live:
            for page in range(address & -PAGE_BYTES, address + length, PAGE_BYTES):
                walk = self._walker.walk(self._root, page)
                if walk.outcome is not Outcome.MAPPED or walk.paddr is None:
                    raise MemoryGap(Outcome.UNREADABLE, f"{page:#x}: {walk.detail}")
                self._check(walk.paddr, PAGE_BYTES)
        return self._read(address, length, False)

    def _check(self, paddr: int, length: int) -> None:
        """Raise MemoryGap if /proc/kcore would return something else than the frames."""
        if not self._is_live:
            return
        for page in range(paddr & -PAGE_BYTES, paddr + length, PAGE_BYTES):
            if page >= len(self._physmap):
                raise MemoryGap(Outcome.UNREADABLE, f"{page:#x}: {_APART}")
            direct = self._walker.walk(self._root, self._physmap[page])
            if direct.outcome is not Outcome.MAPPED or direct.paddr != page:
                raise MemoryGap(Outcome.UNREADABLE, f"{page:#x}: {_APART}")
