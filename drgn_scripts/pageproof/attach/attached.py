# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that drgn is attached to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import drgn

if TYPE_CHECKING:
    from pageproof.attach.guestmemory import GuestMemory
    from pageproof.attach.monitor import Monitor
    from pageproof.attach.monitormemory import MonitorMemory

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
