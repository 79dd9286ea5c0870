# SPDX-License-Identifier: GPL-2.0-or-later
"""VMCOREINFO of the running kernel.

``/sys/kernel/vmcoreinfo`` has only its physical address. ``/proc/kcore`` has the text as an ELF
note since Linux 4.19 (23c85094fe18, "proc/kcore: add vmcoreinfo note to /proc/kcore").
"""

from __future__ import annotations

from typing import Final

from pageproof.files.elfnotes import vmcoreinfo_note
from pageproof_kdump.check.machine import Machine
from pageproof_kdump.engine import NoFact

_KCORE: Final = "/proc/kcore"


def read_vmcoreinfo(machine: Machine) -> str:
    """Return the running kernel's VMCOREINFO.

    Raises:
        NoFact: it cannot be read.
    """
    # No more than the headers and notes: behind them is the kernel's memory.
    found = vmcoreinfo_note(lambda offset, length: machine.data(_KCORE, length, offset))
    if found is None:
        raise NoFact(f"{_KCORE} has no VMCOREINFO")
    return found
