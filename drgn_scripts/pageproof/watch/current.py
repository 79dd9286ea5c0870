# SPDX-License-Identifier: GPL-2.0-or-later
"""What a CPU does: the task that runs on it, and whether an interrupt came in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import drgn
from drgn import offsetof

from pageproof.arch.cpu import Registers
from pageproof.attach.reader import Reader
from pageproof.errors import PageproofError
from pageproof.model import MemoryGap
from pageproof.model.watch import Context
from pageproof.space.units import ADDRESS_LAST

_WORD_BYTES: Final = 8
_INT_BYTES: Final = 4
#: Limit of CPUs: NR_CPUS with CONFIG_MAXSMP.
_MOST_CPUS: Final = 8192
#: Fields of ``preempt_count`` (include/linux/preempt.h), from the strongest. A softirq is served
#: if SOFTIRQ_OFFSET is set; local_bh_disable() adds twice as much. The same from 5.10 to 7.2.
_CONTEXTS: Final = (
    (0x00F0_0000, Context.NMI),
    (0x000F_0000, Context.HARDIRQ),
    (0x0000_0100, Context.SOFTIRQ),
)


@dataclass(frozen=True, slots=True)
class Current:
    """What a CPU does.

    Attributes:
        cpu: the kernel's number of the CPU.
    """

    cpu: int
    pid: int
    tid: int
    comm: str
    context: Context


class CurrentTasks:
    """Reads it from a stopped guest. Addresses are looked up once.

    Raises:
        PageproofError: the kernel has no such variables.
    """

    def __init__(self, prog: drgn.Program, reader: Reader) -> None:
        self._reader = reader
        try:
            self._current, self._preempt = current_variables(prog)
            task = prog.type("struct task_struct")
            self._pid, self._tgid = offsetof(task, "pid"), offsetof(task, "tgid")
            self._comm = offsetof(task, "comm")
            self._comm_bytes = task.member("comm").type.length or 0
            self._cpus = _bases(prog)
        except (LookupError, AttributeError, drgn.FaultError) as error:
            raise PageproofError(
                f"cannot find the tasks that run: {error}", "", "give the vmlinux with -s"
            ) from None

    def of(self, registers: Registers, vcpu: int) -> Current:
        """Return what a CPU does.

        Args:
            registers: its registers.
            vcpu: its number in QEMU, if the kernel's is not known.
        """
        base = next((base for base in registers.per_cpu_bases if base in self._cpus), None)
        if base is None:
            return Current(vcpu, 0, 0, "?", Context.TASK)
        cpu = self._cpus[base]
        context = Context.TASK
        try:
            if not registers.user_mode:
                context = context_of(self._number(base + self._preempt, _INT_BYTES))
            task = self._number(base + self._current, _WORD_BYTES)
            tid = self._number(task + self._pid, _INT_BYTES)
            pid = self._number(task + self._tgid, _INT_BYTES)
            comm = self._reader.read_kernel_virtual(task + self._comm, self._comm_bytes)
        except MemoryGap:
            return Current(cpu, 0, 0, "?", context)
        text = comm.partition(b"\0")[0].decode("utf-8", "backslashreplace")
        return Current(cpu, pid, tid, text, context)

    def _number(self, address: int, length: int) -> int:
        # Since 6.15 a per-CPU variable has an address in the image, and the base is a difference.
        address &= ADDRESS_LAST
        return int.from_bytes(self._reader.read_kernel_virtual(address, length), "little")


def context_of(preempt_count: int) -> Context:
    """Return the context from a CPU's ``preempt_count``."""
    return next((one for bits, one in _CONTEXTS if preempt_count & bits), Context.TASK)


def current_variables(prog: drgn.Program) -> tuple[int, int]:
    """Return the per-CPU addresses of the current task and of the preempt count."""
    try:
        # 6.2 to 6.14: d7b6d709a76a ("x86/percpu: Move preempt_count next to current_task").
        hot = prog["pcpu_hot"]
    except KeyError:
        return _address(prog["current_task"]), _address(prog["__preempt_count"])
    at, kind = _address(hot), hot.type_
    return at + offsetof(kind, "current_task"), at + offsetof(kind, "preempt_count")


def _address(variable: drgn.Object) -> int:
    if variable.address_ is None:
        raise LookupError("a per-CPU variable has no address")
    return int(variable.address_)


def _bases(prog: drgn.Program) -> dict[int, int]:
    """Return the kernel's number of each possible CPU by its per-CPU base."""
    count = min(int(prog["nr_cpu_ids"].value_()), _MOST_CPUS)
    offsets = prog["__per_cpu_offset"]
    return {int(offsets[cpu].value_()): cpu for cpu in range(count)}
