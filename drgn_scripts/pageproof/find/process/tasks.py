# SPDX-License-Identifier: GPL-2.0-or-later
"""The tasks of a target, from the initial PID namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import drgn
from drgn import NULL, cast, container_of, offsetof

from pageproof.find.bounded import DamagedError, Losses, xa_load
from pageproof.find.bulk import bulk_of
from pageproof.find.bulk.layout import fields_of
from pageproof.find.bulk.protocol import Field
from pageproof.find.kernel.debuginfo import of_program

#: Limit of nodes: ``PID_MAX_LIMIT`` (include/linux/threads.h) with 64 PIDs in a node, and the nodes
#: above these.
_MAX_NODES: Final = (1 << 22) // 64 + (1 << 11)
#: Attempts to read the tree completely: fork() and exit() change it while it is read.
_ATTEMPTS: Final = 3
_WORD_BYTES: Final = 8


class TaskRecord(NamedTuple):
    """A ``struct task_struct``.

    Attributes:
        tgid: 0 if it cannot be read.
        mm: address of its ``struct mm_struct``; 0 for none.
        comm: of its group's leader; "?" if it cannot be read.
        stack: address of its stack.
        fault: why some of this cannot be read; "" if all is.
    """

    address: int
    tgid: int
    mm: int
    comm: str
    stack: int
    fault: str


@dataclass(frozen=True)
class _Layout:
    """Offsets.

    Attributes:
        first: of ``tasks[PIDTYPE_PID].first`` in ``struct pid``.
        link: of ``pid_links[PIDTYPE_PID]`` in ``struct task_struct``.
        members: tgid, mm, stack and group_leader of ``struct task_struct``.
        comm: ``comm`` in words.
    """

    first: int
    link: int
    members: tuple[Field, ...]
    comm: tuple[Field, ...]


@of_program
def _layout(prog: drgn.Program) -> _Layout:
    kind, task = int(prog.constant("PIDTYPE_PID")), prog.type("struct task_struct")
    comm, length = offsetof(task, "comm"), task.member("comm").type.length or 0
    return _Layout(
        first=offsetof(prog.type("struct pid"), f"tasks[{kind}].first"),
        link=offsetof(task, f"pid_links[{kind}]"),
        members=fields_of(task, "tgid", "mm", "stack", "group_leader"),
        comm=tuple((comm + at, _WORD_BYTES) for at in range(0, length, _WORD_BYTES)),
    )


def read_tasks(prog: drgn.Program) -> tuple[list[TaskRecord], str]:
    """Return every task in order of PID, and why some may be missing.

    Raises:
        drgn.FaultError: the root of the PIDs cannot be read.
    """
    addresses, lost = task_addresses(prog)
    bulk, layout = bulk_of(prog), _layout(prog)
    rows = bulk.gather(addresses, layout.members)
    leaders = rows.column(3)
    names = bulk.gather(leaders, layout.comm)
    faults = {
        number: "it has no group leader" for number, leader in enumerate(leaders) if not leader
    }
    faults |= {**names.faults, **rows.faults}
    found = []
    for number, (address, row, words) in enumerate(zip(addresses, rows, names, strict=True)):
        tgid, mm, stack, _ = row
        fault = faults.get(number, "")
        found.append(TaskRecord(address, tgid, mm, "?" if fault else _text(words), stack, fault))
    return found, lost


def _text(words: tuple[int, ...]) -> str:
    data = b"".join(word.to_bytes(_WORD_BYTES, "little") for word in words)
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def check_tasks(prog: drgn.Program) -> None:
    """Raise DamagedError if a walk over the tasks does not reach all of them.

    Raises:
        drgn.FaultError: the root of the PIDs cannot be read.
    """
    _, lost = task_addresses(prog)
    if lost:
        raise DamagedError(f"the list of tasks: {lost}")


def task_addresses(prog: drgn.Program) -> tuple[list[int], str]:
    """Return the address of every task in order of PID, and why some may be missing.

    Raises:
        drgn.FaultError: the root of the PIDs cannot be read.
    """
    for _ in range(_ATTEMPTS):
        tasks, lost = _look(prog)
        if not lost:
            break
    return tasks, lost


def _look(prog: drgn.Program) -> tuple[list[int], str]:
    """Look once. A ``struct pid`` has no task if it is only a group's or a session's."""
    bulk, layout = bulk_of(prog), _layout(prog)
    head = _pids(prog).xa_head.address_
    assert head is not None
    pids, lost = bulk.xarray(head, max_nodes=_MAX_NODES)
    losses = Losses()
    links = bulk.gather([one.entry for one in pids], ((layout.first, _WORD_BYTES),))
    for number, fault in links.faults.items():
        losses.add(f"PID {pids[number].first}: {fault}")
    if lost:
        losses.add(lost)
    return [link - layout.link for link in links.column(0) if link], str(losses)


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
