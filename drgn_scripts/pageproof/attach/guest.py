# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching to a QEMU guest through its QMP socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from pageproof import arch
from pageproof.attach.attached import VMCOREINFO_REMEDY as VMCOREINFO_REMEDY
from pageproof.attach.attached import Attached
from pageproof.attach.messages import drgn_messages
from pageproof.attach.physical import add_to_drgn
from pageproof.attach.reader import Reader
from pageproof.errors import PageproofError
from pageproof.space.units import ADDRESS_LAST

if TYPE_CHECKING:
    from pageproof.attach.guestmemory import GuestMemory
    from pageproof.attach.kernelchoice import KernelChoice
    from pageproof.attach.monitor import Monitor
    from pageproof.attach.monitormemory import MonitorMemory


@dataclass
class _Session:
    """A connection that drgn uses."""

    prog: drgn.Program
    shared: socket.socket
    memory: GuestMemory | None
    monitor: Monitor | None
    slow: MonitorMemory | None
    notes: tuple[str, ...]

    def close(self) -> None:
        """Hang up, so that QEMU accepts the next client; drgn's descriptor stays open."""
        self.shared.shutdown(socket.SHUT_RDWR)
        self.shared.close()

    @property
    def attached(self) -> Attached:
        return Attached(self.prog, self.notes, self.memory, self.monitor, self.slow)


def attach_guest(
    address: str,
    which: KernelChoice | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Attached:
    """Attach to a running guest.

    Args:
        address: path of QEMU's QMP socket, or host:port.
        which: of several kernels in its memory; None: the one that the vmcoreinfo device names,
            else the running one.
        progress: called with one line now and then.

    Raises:
        PageproofError: the guest cannot be read.
    """
    where = f"--qemu {address}"
    from pageproof.attach import unprepared  # here, because other targets do not need it

    session = _open(address)
    try:
        arch.of_program(session.prog, where)
        unprepared.refuse_encrypted(session.attached, where)
        named = bool(session.prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL)
        if named and which is None:
            note, sure = unprepared.check_device(session.attached)
            session.notes += (note,) if note else ()
            if sure:
                return session.attached
        chosen = unprepared.search_guest(session.attached, which, where, progress)
    except BaseException:
        session.close()
        raise
    text = chosen.kernel.text
    if named:
        # This program is of the device's kernel already.
        platform = session.prog.platform
        session.close()
        notes = session.notes
        session = _open(address, drgn.Program(platform, vmcoreinfo=text))
        session.notes = tuple(dict.fromkeys((*session.notes, *notes)))
    # drgn 0.3.0: set_qemu_qmp() leaves out what makes a program a kernel's if it has a VMCOREINFO.
    session.prog.set_linux_kernel_custom(text, True)
    session.notes += chosen.notes
    return session.attached


def _open(address: str, prog: drgn.Program | None = None) -> _Session:
    """Connect, and attach drgn.

    Args:
        address: of the socket.
        prog: with a VMCOREINFO that overrides the guest's own.
    """
    # Here, because most targets need no sockets.
    from pageproof.attach import guestmemory, qmp
    from pageproof.attach.monitor import Monitor, Unusable

    where = f"--qemu {address}"
    prog = drgn.Program() if prog is None else prog
    if not hasattr(prog, "set_qemu_qmp") or not drgn._with_json_c:
        raise PageproofError(
            "this drgn can't talk to QEMU",
            where,
            "it was built without json-c: use drgn 0.3 or newer from PyPI (pip install drgn)",
        )
    connection = qmp.connect(address)
    process = guestmemory.open_process(connection)
    shared = connection.dup()
    slow = None
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
            if monitor is not None and not _reads_a_process(prog, monitor, messages):
                memory, slow = None, _read_through(monitor, prog, where)
    except BaseException as error:
        shared.close()
        if not isinstance(error, Exception) or isinstance(error, PageproofError):
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
    notes: tuple[str, ...] = ()
    if slow is not None:
        reasons = [one for one in messages if "process memory reading disabled" in one]
        reason = reasons[0].partition(": ")[2] if reasons else "its process is not known"
        notes = (
            f"memory comes through QEMU's monitor, which is slow: {reason}; run as the user of "
            "QEMU with ptrace permission (root, or kernel.yama.ptrace_scope=0), in its PID "
            "namespace",
        )
    return _Session(prog, shared, memory, monitor, slow, notes)


def _reads_a_process(prog: drgn.Program, monitor: Monitor, messages: Sequence[str]) -> bool:
    """Return whether drgn reads the memory of the guest's own QEMU."""
    from pageproof.attach.monitormemory import reads_the_guest

    enabled = any("process memory reading enabled" in message for message in messages)
    return enabled and reads_the_guest(monitor, Reader(prog).read_physical)


def _read_through(monitor: Monitor, prog: drgn.Program, where: str) -> MonitorMemory:
    """Give drgn the memory that the monitor reads."""
    from pageproof.attach.monitor import Unusable
    from pageproof.attach.monitormemory import MonitorMemory

    try:
        memory = MonitorMemory(monitor)
    except Unusable as error:
        raise PageproofError(
            f"QEMU's process cannot be read, and its monitor names no memory: {error}", where
        ) from None

    add_to_drgn(prog, 0, ADDRESS_LAST, memory.blocks.read)
    return memory
