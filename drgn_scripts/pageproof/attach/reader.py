# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of memory for all other rooms. It cannot write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import drgn

from pageproof.arch.engine import CompressedMemory, DirectMemory, FileMemory
from pageproof.attach.elfmap import ElfMap
from pageproof.attach.kdump import KdumpPages
from pageproof.model import MemoryGap, Outcome

if TYPE_CHECKING:
    from pageproof.attach.guestmemory import GuestMemory
    from pageproof.attach.monitormemory import MonitorMemory


class Reader:
    """Reads memory of a target."""

    def __init__(
        self,
        prog: drgn.Program,
        elf_map: ElfMap | None = None,
        kdump: Sequence[KdumpPages] = (),
        guest: GuestMemory | None = None,
        slow: MonitorMemory | None = None,
    ) -> None:
        self._prog, self._slow = prog, slow
        self._elf_map, self._kdump, self._guest = elf_map, kdump, guest

    def read_physical(self, paddr: int, length: int) -> bytes:
        """Read physical memory.

        Raises:
            MemoryGap: the memory cannot be read. Pages that an ELF dump omits are EXCLUDED, never
                zeros.
        """
        if self._elf_map is not None and self._elf_map.is_excluded(paddr, length):
            raise MemoryGap.left_out(paddr)
        if self._slow is not None:
            return self._slow.read(paddr, length)
        return self._read(paddr, length, physical=True)

    def direct_memory(self) -> DirectMemory:
        """Return physical memory that is mapped here and needs no :meth:`read_physical`.

        Returns:
            (paddr, bytes), or (paddr, length in bytes) for memory that the dump omits; sorted,
            without overlaps. Empty if the target has none.
        """
        return self._elf_map.direct() if self._elf_map is not None else ()

    def compressed_memory(self) -> CompressedMemory:
        """Return the pages of a kdump-compressed dump, as the engine's ``Kdump`` wants them.

        drgn reads them too, but it holds the GIL while libkdumpfile decompresses a page.
        """
        return [part.for_engine() for part in self._kdump]

    def file_memory(self) -> FileMemory | None:
        """Return RAM of a guest, as the engine's ``FileMemory`` wants it.

        It reads the same bytes as :meth:`read_physical`, or none. Its descriptor is open as long as
        this reader exists.
        """
        return None if self._guest is None else self._guest.for_engine()

    def read_kernel_virtual(self, address: int, length: int) -> bytes:
        """Read through a kernel virtual address, translated by the target or by drgn.

        Raises:
            MemoryGap: the memory cannot be read.
        """
        return self._read(address, length, physical=False)

    def _read(self, address: int, length: int, *, physical: bool) -> bytes:
        try:
            data: bytes = self._prog.read(address, length, physical)
        except drgn.FaultError as error:
            raise MemoryGap.from_fault(error) from None
        except OSError as error:
            message = f"{address:#x}: {error.strerror or error}"
            raise MemoryGap(Outcome.UNREADABLE, message) from None
        return data
