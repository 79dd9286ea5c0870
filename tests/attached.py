# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn attached to a guest in the test's own process, and a way to stop the guest."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import drgn
import pytest
from drgn.helpers.linux.pid import for_each_task
from machine import Machine

from pageproof.arch import Paging
from pageproof.arch.x86_64.architecture import PTI_USER_HALF
from pageproof.attach import Target, given_target, qmp
from pageproof.find.kernel.paging import read_paging
from pageproof.model import PagingFacts
from pageproof.model.asked import WalkerChoice
from pageproof.observe.walkers import paging_form, walker_of
from pageproof.walk import Walker
from pageproof_lab.guest.channel import Monitor
from pageproof_lab.guest.guest import monitor

VIRTUAL_LAST = (1 << 64) - 1


@dataclass(frozen=True)
class Tree:
    """A tree of page tables: its mm for drgn, its root for a walker, and the half to look at."""

    name: str
    mm: drgn.Object
    root: int
    first: int
    last: int


@dataclass(frozen=True)
class View:
    """A drgn program on the guest, and both walkers."""

    target: Target
    paging: PagingFacts
    engine: Walker
    python: Walker

    @property
    def form(self) -> Paging:
        return paging_form(self.target, self.paging)

    @property
    def kernel_half(self) -> int:
        """First address of the kernel half."""
        return VIRTUAL_LAST - self.form.lower_half_last

    def kernel(self) -> Tree:
        init_mm = self.target.prog["init_mm"].address_of_()
        return Tree("init_mm", init_mm, self.paging.kernel_root, self.kernel_half, VIRTUAL_LAST)

    def processes(self) -> list[Tree]:
        """Return the user half of every address space, by the tables of user mode."""
        spaces: dict[int, Tree] = {}
        half = PTI_USER_HALF if self.paging.pti else 0
        for task in for_each_task(self.target.prog):
            if task.mm:
                name = f"{task.tgid.value_()} ({task.comm.string_().decode()})"
                root = task.mm.pgd.value_() - self.paging.page_offset_base | half
                tree = Tree(name, task.mm, root, 0, self.form.lower_half_last)
                spaces.setdefault(task.mm.value_(), tree)
        return list(spaces.values())


@contextmanager
def attached(machine: Machine) -> Iterator[View]:
    """Attach drgn as its users do.

    QEMU's monitor serves one client at a time, and a failed test keeps its drgn program alive, so
    the connection is closed here.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(machine.guest.sockets.qmp))
        prog = drgn.Program()
        try:
            prog.set_qemu_qmp(os.dup(connection.fileno()))
            prog.load_debug_info([machine.kernel.vmlinux, *machine.test_modules])
            target = given_target(prog)
            paging = read_paging(prog)
            yield View(
                target,
                paging,
                walker_of(target, paging, WalkerChoice.C),
                walker_of(target, paging, WalkerChoice.PYTHON),
            )
        finally:
            connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def frozen(machine: Machine) -> Iterator[Monitor]:
    """Stop the guest's CPUs for a while. No command can run in the guest meanwhile."""
    with closing(monitor(machine.guest)) as control:
        control.call("stop")
        try:
            yield control
        finally:
            control.call("cont")


@contextmanager
def closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the connections to QEMU that the block opens. A failed test keeps drgn.

    QEMU's socket serves one client.
    """
    kept: list[socket.socket] = []
    connect = qmp.connect

    def keep(address: str) -> socket.socket:
        connection = connect(address)
        kept.append(connection.dup())
        return connection

    monkeypatch.setattr(qmp, "connect", keep)
    try:
        yield
    finally:
        for one in kept:
            one.shutdown(socket.SHUT_RDWR)
            one.close()
