# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that nobody prepared: their VMCOREINFO is searched for in their memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import drgn

from pageproof import arch
from pageproof.attach.attached import VMCOREINFO_REMEDY, Attached
from pageproof.attach.kernelchoice import KernelChoice
from pageproof.attach.monitor import Monitor, Unusable
from pageproof.attach.physical import PhysicalMemory
from pageproof.attach.processmemory import ProcessMemory
from pageproof.attach.reader import Reader
from pageproof.attach.vmcoreinfo import Found, find_kernels, is_confirmed, kernel_named
from pageproof.attach.vmcoreinfo.choice import Chosen, CpuRoots, choose, running
from pageproof.errors import PageproofError

#: Limit of a search by ``xp``, at two minutes a GiB.
_MOST_PRINTED_BYTES: Final = 2 << 30
_NAME_LETTERS: Final = 60
_MOMENTS: Final = 10
_PAUSE_SECONDS: Final = 0.02


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
        memory = _memory(attached, where)
        found = find_kernels(memory, progress, architecture)
        roots = _roots_seen(monitor, attached.prog, memory, found)
        return choose(memory, found, roots, which, where, VMCOREINFO_REMEDY)
    except Unusable as error:
        raise PageproofError(f"QEMU refused: {error}", where, VMCOREINFO_REMEDY) from None
    except (OSError, ValueError) as error:
        raise PageproofError(f"QEMU does not answer: {error}", where) from None


def check_device(attached: Attached) -> tuple[str, bool]:
    """Check that the guest runs the kernel that its vmcoreinfo device names.

    A crash kernel leaves the device to the kernel that has crashed (fw_cfg_sysfs_probe() of
    drivers/firmware/qemu_fw_cfg.c), and another kernel may not have loaded the driver yet.

    Returns:
        A note for the user, "" for none; and whether the kernel may be examined, as far as this
        can be seen. Otherwise it is searched for.
    """
    prog, monitor = attached.prog, attached.monitor
    kernel = kernel_named(prog["VMCOREINFO"].string_(), arch.of_program(prog))
    if kernel is None or monitor is None:
        return "", True
    read = Reader(prog).read_physical
    if not is_confirmed(read, kernel):  # Xen PV, or what an earlier kernel left
        return f"memory has no Linux {kernel.release}, which the vmcoreinfo device names", False
    if kernel.crashed:
        return (
            f"this is Linux {kernel.release} that has crashed; the guest may run its crash kernel: "
            "--which-kernel running selects that",
            True,
        )
    try:
        seen = any(not now or running(read, kernel, now) for now in _moments(monitor, prog))
    except (Unusable, OSError, ValueError):
        seen = True
    if seen:
        return "", True
    # It has not crashed, but another one may have been started by kexec.
    return f"no CPU runs Linux {kernel.release}, which the vmcoreinfo device names", False


def _memory(attached: Attached, where: str) -> PhysicalMemory:
    """Return the quickest way to a guest's memory."""
    if attached.memory is not None:
        return ProcessMemory(attached.memory, Reader(attached.prog).read_physical)
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


def _roots_seen(
    monitor: Monitor, prog: drgn.Program, memory: PhysicalMemory, found: Found
) -> CpuRoots:
    """Return the tables that CPUs run on, of several moments if they are not those of a kernel.

    A CPU may be in firmware for a moment, or in a table of Xen's that only user mode has.
    """
    roots: list[frozenset[int]] = []
    for now in _moments(monitor, prog):
        roots += now
        if any(running(memory.read, kernel, now) for kernel in found.kernels):
            break
    return roots


def _moments(monitor: Monitor, prog: drgn.Program) -> Iterator[CpuRoots]:
    for _ in range(_MOMENTS):
        yield arch.of_program(prog).cpu_roots(monitor.ask("info registers -a"))
        time.sleep(_PAUSE_SECONDS)


def refuse_encrypted(attached: Attached, where: str) -> None:
    """Refuse a guest whose memory its host cannot read.

    The machine's property names the object with its keys: sev-guest, tdx-guest and others (QEMU's
    hw/core/machine.c, since 6.0).

    Raises:
        PageproofError: it is one.
    """
    question: dict[str, object] = {"path": "/machine", "property": "confidential-guest-support"}
    try:
        named = attached.monitor and attached.monitor.execute("qom-get", question)
    except Unusable:  # an older QEMU, or a machine without it
        return
    except (OSError, ValueError) as error:
        raise PageproofError(f"QEMU does not answer: {error}", where) from None
    if named:
        raise PageproofError(
            "the guest's memory is encrypted (confidential-guest-support is "
            f"{str(named)[:_NAME_LETTERS]})",
            where,
            "its host sees ciphertext only: run pageproof inside the guest",
        )
