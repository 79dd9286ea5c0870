# SPDX-License-Identifier: GPL-2.0-or-later
"""The tasks of a target, from the initial PID namespace."""

from __future__ import annotations

from typing import Final

import drgn
from drgn import NULL, cast, container_of

from pageproof.find.bounded import DamagedError, Losses, xa_entries, xa_load

#: Limit of nodes: ``PID_MAX_LIMIT`` (include/linux/threads.h) with 64 PIDs in a node, and the nodes
#: above these.
_MAX_NODES: Final = (1 << 22) // 64 + (1 << 11)
#: Attempts to read the tree completely: fork() and exit() change it while it is read.
_ATTEMPTS: Final = 3


def all_tasks(prog: drgn.Program) -> tuple[list[drgn.Object], str]:
    """Return ``struct task_struct *`` of every task in order of PID, and why some may be missing.

    Raises:
        drgn.FaultError: the root of the PIDs cannot be read.
    """
    for _ in range(_ATTEMPTS):
        tasks, lost = _look(prog)
        if not lost:
            break
    return tasks, lost


def check_tasks(prog: drgn.Program) -> None:
    """Raise DamagedError if a walk over the tasks does not reach all of them.

    Raises:
        drgn.FaultError: the root of the PIDs cannot be read.
    """
    _, lost = all_tasks(prog)
    if lost:
        raise DamagedError(f"the list of tasks: {lost}")


def _look(prog: drgn.Program) -> tuple[list[drgn.Object], str]:
    tasks: list[drgn.Object] = []
    losses = Losses()
    link = _Link(prog)
    try:
        for number, entry in xa_entries(_pids(prog), _MAX_NODES):
            try:
                task = link.task_of(entry)
            except drgn.FaultError as error:
                losses.add(f"PID {number}: {error}")
                continue
            if task:
                tasks.append(task)
    except DamagedError as error:
        losses.add(str(error))
    return tasks, str(losses)


def find_task(prog: drgn.Program, pid: int) -> drgn.Object:
    """Return ``struct task_struct *`` of a PID; a null pointer if there is none.

    Raises:
        drgn.FaultError: a node cannot be read.
        DamagedError: the tree leads back to itself.
    """
    return _Link(prog).task_of(xa_load(_pids(prog), pid))


def _pids(prog: drgn.Program) -> drgn.Object:
    """Return the tree of ``struct pid``, by number.

    Since 4.15: 95846ecf9dac ("pid: replace pid bitmap implementation with IDR API").
    """
    return prog["init_pid_ns"].idr.idr_rt.address_of_()


class _Link:
    """From a ``struct pid *`` to its task."""

    def __init__(self, prog: drgn.Program) -> None:
        self._pid = prog.type("struct pid *")
        self._task = prog.type("struct task_struct")
        self._none = NULL(prog, prog.pointer_type(self._task))
        self._kind = int(prog.constant("PIDTYPE_PID"))
        self._member = f"pid_links[{self._kind}]"

    def task_of(self, entry: drgn.Object) -> drgn.Object:
        """Return the task with this PID; a null pointer if it is only a group's or a session's."""
        if not entry:
            return self._none
        first = cast(self._pid, entry).tasks[self._kind].first.read_()
        return container_of(first, self._task, self._member) if first else self._none
