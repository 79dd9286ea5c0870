# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that nobody prepared: their VMCOREINFO is searched for in their memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import drgn

from pageproof import arch
from pageproof.attach.guest import VMCOREINFO_REMEDY
from pageproof.attach.monitor import Monitor, Unusable
from pageproof.attach.physical import PhysicalMemory
from pageproof.attach.processmemory import ProcessMemory
from pageproof.attach.vmcoreinfo import find_kernels, kernel_named
from pageproof.attach.vmcoreinfo.choice import Chosen, CpuRoots, KernelChoice, choose, running
from pageproof.errors import PageproofError
from pageproof.model import MemoryGap
from pageproof.walk import ReadPhysical

if TYPE_CHECKING:
    from pageproof.attach.guest import Attached

#: Limit of a search by ``xp``, at two minutes a GiB.
_MOST_PRINTED_BYTES: Final = 2 << 30
_NAME_LETTERS: Final = 60


def search_guest(
    attached: Attached,
    which: KernelChoice | None,
    where: str,
    progress: Callable[[str], None],
) -> Chosen:
    """Search a guest's memory for the kernel that the user means.

    Raises:
        PageproofError: there is none, or the guest is one that cannot be examined from outside.
    """
    monitor = attached.monitor
    if monitor is None:
        raise PageproofError("QEMU is in the middle of an event", where, "try again")
    architecture = arch.of_program(attached.prog, where)
    try:
        _refuse_encrypted(monitor, where)
        memory = _memory(attached, where)
        found = find_kernels(memory, progress, architecture)
        roots = _roots(monitor, attached.prog)
        return choose(memory, found, roots, which, where, VMCOREINFO_REMEDY)
    except Unusable as error:
        raise PageproofError(f"QEMU refused: {error}", where, VMCOREINFO_REMEDY) from None
    except (OSError, ValueError) as error:
        raise PageproofError(f"QEMU does not answer: {error}", where) from None


def note_on_device(attached: Attached) -> str:
    """Return a note if the guest does not run the kernel that its vmcoreinfo device names.

    A crash kernel leaves the device to the kernel that has crashed (fw_cfg_sysfs_probe() of
    drivers/firmware/qemu_fw_cfg.c).
    """
    prog, monitor = attached.prog, attached.monitor
    if monitor is None:
        return ""
    kernel = kernel_named(prog["VMCOREINFO"].string_(), arch.of_program(prog))
    try:
        roots = _roots(monitor, prog)
        if kernel is None or not roots or running(_reader(prog), kernel, roots):
            return ""
    except (Unusable, OSError, ValueError):
        return ""
    return (
        f"no CPU runs Linux {kernel.release}, which the vmcoreinfo device names: the guest may run "
        "its crash kernel; this report is on the one of the device, which has crashed then; "
        "--which-kernel running selects the other"
    )


def _memory(attached: Attached, where: str) -> PhysicalMemory:
    """Return the quickest way to a guest's memory."""
    if attached.memory is not None:
        return ProcessMemory(attached.memory, _reader(attached.prog))
    slow = attached.slow
    if slow is None:
        raise PageproofError("QEMU does not name the guest's memory", where, VMCOREINFO_REMEDY)
    total = sum(length for _, length in slow.ranges)
    if not slow.quick and total > _MOST_PRINTED_BYTES:
        raise PageproofError(
            f"the guest has no vmcoreinfo device, and a search of {total >> 20} MiB through this "
            "monitor takes too long",
            where,
            f"use QEMU's Unix socket, as a user that may read its process; or {VMCOREINFO_REMEDY}",
        )
    return slow


def _reader(prog: drgn.Program) -> ReadPhysical:
    def read(paddr: int, length: int) -> bytes:
        try:
            data: bytes = prog.read(paddr, length, True)
        except (drgn.FaultError, OSError) as error:
            raise MemoryGap.from_fault(error) from None
        return data

    return read


def _roots(monitor: Monitor, prog: drgn.Program) -> CpuRoots:
    return arch.of_program(prog).cpu_roots(monitor.ask("info registers -a"))


def _refuse_encrypted(monitor: Monitor, where: str) -> None:
    """Refuse a guest whose memory its host cannot read.

    The machine's property names the object with its keys: sev-guest, tdx-guest and others (QEMU's
    hw/core/machine.c, since 6.0).
    """
    question: dict[str, object] = {"path": "/machine", "property": "confidential-guest-support"}
    try:
        named = monitor.execute("qom-get", question)
    except Unusable:  # an older QEMU, or a machine without it
        return
    if named:
        raise PageproofError(
            "the guest's memory is encrypted (confidential-guest-support is "
            f"{str(named)[:_NAME_LETTERS]})",
            where,
            "its host sees ciphertext only: run pageproof inside the guest",
        )
