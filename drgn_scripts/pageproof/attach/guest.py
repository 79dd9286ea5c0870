# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching to a QEMU guest through its QMP socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import drgn

from pageproof.attach.messages import drgn_messages
from pageproof.errors import PageproofError

if TYPE_CHECKING:
    from pageproof.attach.guestmemory import GuestMemory
    from pageproof.attach.monitor import Monitor

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
    """

    prog: drgn.Program
    notes: tuple[str, ...]
    memory: GuestMemory | None
    monitor: Monitor | None


def attach_guest(address: str) -> Attached:
    """Attach to a running guest.

    Args:
        address: path of QEMU's QMP socket, or host:port.

    Raises:
        PageproofError: the guest cannot be read.
    """
    # Here, because most targets need no sockets.
    from pageproof.attach import guestmemory, qmp
    from pageproof.attach.monitor import Monitor, Unusable

    where = f"--qemu {address}"
    prog = drgn.Program()
    if not hasattr(prog, "set_qemu_qmp") or not drgn._with_json_c:
        raise PageproofError(
            "this drgn can't talk to QEMU",
            where,
            "it was built without json-c: use drgn 0.3 or newer from PyPI (pip install drgn)",
        )
    connection = qmp.connect(address)
    family = connection.family
    process = guestmemory.open_process(connection)
    shared = connection.dup()
    try:
        with (
            drgn_messages() as messages,
            qmp.hung_up_after(connection, qmp.ATTACH_SECONDS) as hung_up,
        ):
            # drgn closes the descriptor, even if it fails.
            prog.set_qemu_qmp(connection.detach())
            memory = process and guestmemory.map_guest(prog, shared, process)
            try:
                monitor: Monitor | None = Monitor(shared)
            except Unusable:
                monitor = None
    except BaseException as error:
        shared.close()
        if not isinstance(error, Exception):
            raise
        # drgn raises bare Exception for errors without a class of their own.
        if hung_up():
            raise PageproofError(
                f"QEMU did not finish its answers within {qmp.ATTACH_SECONDS:.0f} s",
                where,
                "is its host busy?",
            ) from None
        if isinstance(error, BlockingIOError):
            raise PageproofError(
                f"QEMU stopped answering for {qmp.ANSWER_SECONDS} s", where, "is its host busy?"
            ) from None
        raise PageproofError(f"QEMU refused: {error}", where) from None
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise PageproofError(
            "the guest is not recognised as Linux: QEMU has no vmcoreinfo of it",
            where,
            VMCOREINFO_REMEDY
            if family.name == "AF_UNIX"
            else "drgn gets vmcoreinfo through a Unix socket only: use -qmp unix:PATH",
        )
    slow = [message for message in messages if "process memory reading disabled" in message]
    notes = tuple(
        f"memory is read through QEMU's monitor, which is slow: {message.partition(': ')[2]}; run "
        "as the user of QEMU with ptrace permission (root, or kernel.yama.ptrace_scope=0)"
        for message in slow
    )
    return Attached(prog, notes, memory, monitor)
