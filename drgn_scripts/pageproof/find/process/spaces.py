# SPDX-License-Identifier: GPL-2.0-or-later
"""The address spaces of a target and the processes that use them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import drgn

from pageproof.errors import PageproofError, TornError
from pageproof.find.process.tasks import find_task, read_tasks, task_addresses
from pageproof.model import TaskFault

#: Errors of drgn for data that is not valid, for example because it changes while it is read.
BROKEN: Final = (drgn.FaultError, ValueError, NotImplementedError)


@dataclass
class Space:
    """One address space and the thread groups that use it.

    Attributes:
        mm: address of its ``struct mm_struct``.
        groups: comm by thread group id.
        threads: number of its tasks.
    """

    mm: int
    groups: dict[int, str] = field(default_factory=dict)
    threads: int = 0

    @property
    def leader(self) -> int:
        """The lowest thread group id."""
        return min(self.groups)

    def fault(self, error: object) -> TaskFault:
        """Return the fault for something of it that cannot be read."""
        leader = self.leader
        return TaskFault(leader, self.groups[leader], str(error))


def all_spaces(prog: drgn.Program, faults: list[TaskFault]) -> list[Space]:
    """Return the address spaces, in order of their lowest thread group id.

    Args:
        prog: the target.
        faults: gets what cannot be read.
    """
    spaces: dict[int, Space] = {}
    try:
        tasks, lost = read_tasks(prog)
    except BROKEN as error:
        tasks, lost = [], str(error)
    if lost:
        faults.append(TaskFault(0, "?", f"the list of tasks: {lost}"))
    unreadable: dict[int, TaskFault] = {}
    for task in tasks:
        if task.fault:
            unreadable[task.address] = TaskFault(task.tgid, task.comm, task.fault)
        elif task.mm:
            space = spaces.get(task.mm)
            if space is None:
                space = spaces[task.mm] = Space(task.mm)
            space.groups[task.tgid] = task.comm
            space.threads += 1
    if unreadable:
        # A task that has exited since may be other memory by now, even all zeros.
        faults += _of_existing(prog, unreadable)
    return sorted(spaces.values(), key=lambda space: space.leader)


def _of_existing(prog: drgn.Program, faults: dict[int, TaskFault]) -> list[TaskFault]:
    """Return the faults, by address of the task, of tasks that still exist."""
    try:
        there = set(task_addresses(prog)[0])
    except BROKEN:
        return list(faults.values())
    return [fault for address, fault in faults.items() if address in there]


def spaces_of(prog: drgn.Program, pid: int | None, faults: list[TaskFault]) -> list[Space]:
    """Return all address spaces, or those of one process."""
    spaces = all_spaces(prog, faults)
    return spaces if pid is None else [space for space in spaces if pid in space.groups]


def space_of(prog: drgn.Program, pid: int) -> Space:
    """Return the address space of a process.

    Raises:
        PageproofError: there is no such process, or it has no address space.
        TornError: the list of tasks cannot be read to the end.
    """
    faults: list[TaskFault] = []
    found = spaces_of(prog, pid, faults)
    if not found:
        raise no_space(prog, pid, faults)
    return found[0]


def no_space(prog: drgn.Program, pid: int, faults: Iterable[TaskFault]) -> PageproofError:
    """Return why a process has no address space; a TornError if that is not known.

    Args:
        prog: the target.
        pid: of the process.
        faults: of the search for it.
    """
    ours = [fault for fault in faults if fault.pid in (0, pid)]
    if ours:
        return unreadable_process(pid, ours[0].message)
    try:
        task = find_task(prog, pid)
    except BROKEN as error:
        return unreadable_process(pid, str(error))
    if not task:
        return PageproofError(f"there is no process {pid} in the target")
    return PageproofError(
        f"process {pid} has no user address space", "", "it is a kernel thread, or it is exiting"
    )


def unreadable_process(pid: int, reason: str) -> TornError:
    """Return the error for a process whose address space cannot be read."""
    return TornError(f"process {pid} can't be read: {reason}")
