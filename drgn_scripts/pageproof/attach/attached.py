# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that drgn is attached to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import drgn

from pageproof.model import MemoryGap

if TYPE_CHECKING:
    from pageproof.attach.guestmemory import GuestMemory
    from pageproof.attach.monitor import Monitor
    from pageproof.attach.monitormemory import MonitorMemory
    from pageproof.walk import ReadPhysical

#: How to give QEMU the guest's VMCOREINFO.
VMCOREINFO_REMEDY = (
    'run QEMU with "-device vmcoreinfo" and load qemu_fw_cfg in the guest (modprobe qemu_fw_cfg), '
    "then try again"
)


class Attached(NamedTuple):
    """A guest that drgn is attached to.

    Attributes:
        notes: for the user.
        memory: RAM that the engine can read itself.
        monitor: drgn's connection to QEMU, to ask it between drgn's calls; None if drgn is in the
            middle of an event.
        slow: memory through the monitor, if that is the only way.
    """

    prog: drgn.Program
    notes: tuple[str, ...]
    memory: GuestMemory | None
    monitor: Monitor | None
    slow: MonitorMemory | None = None


def physical_reader(prog: drgn.Program) -> ReadPhysical:
    """Return drgn's way to physical memory, with our errors."""

    def read(paddr: int, length: int) -> bytes:
        try:
            data: bytes = prog.read(paddr, length, True)
        except (drgn.FaultError, OSError) as error:
            raise MemoryGap.from_fault(error) from None
        return data

    return read
