# SPDX-License-Identifier: GPL-2.0-or-later
"""VMCOREINFO of the running kernel.

``/sys/kernel/vmcoreinfo`` has only its physical address. ``/proc/kcore`` has the text as an ELF
note since Linux 4.19 (23c85094fe18, "proc/kcore: add vmcoreinfo note to /proc/kcore").
"""

from __future__ import annotations

from typing import Final

from pageproof_kdump.check.machine import Machine
from pageproof_kdump.elfnotes import vmcoreinfo_note
from pageproof_kdump.engine import NoFact

_KCORE: Final = "/proc/kcore"
#: Limit: the notes come after the program headers, one for each range of memory.
_HEAD_BYTES: Final = 4 << 20


def read_vmcoreinfo(machine: Machine) -> str:
    """Return the running kernel's VMCOREINFO.

    Raises:
        NoFact: it cannot be read.
    """
    head = machine.data(_KCORE, _HEAD_BYTES)
    found = vmcoreinfo_note(lambda offset, length: head[offset : offset + length])
    if found is None:
        raise NoFact(f"{_KCORE} has no VMCOREINFO")
    return found
