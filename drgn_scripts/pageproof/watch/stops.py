# SPDX-License-Identifier: GPL-2.0-or-later
"""From a stop of the gdb stub to hits, while the guest is stopped.

What QEMU reports is not always what happened, so the instruction is decoded too:

- Of an instruction that reads and writes, the read is reported.
- Before 8.1 an unaligned store counts as one from the beginning of its page on
  (store_helper_unaligned() of accel/tcg/cputlb.c), and an unaligned load as one of the aligned
  words around it.
- An access to several places is reported once.
- If a vCPU hits while the guest is being stopped, because another vCPU has hit or a byte came, this
  is not reported. cpu->watchpoint_hit stays set, also after a detach. Then the vCPU's next access
  to a watched range is reported with the old watchpoint, and only at the end of its block of
  instructions (cpu_check_watchpoint()), so others in the block are lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from pageproof import arch
from pageproof.arch.cpu import Cpu, Operand, Registers
from pageproof.attach.target import Target
from pageproof.model import MemoryGap
from pageproof.model.watch import Access, Mode, Place
from pageproof.space.units import PAGE_BYTES
from pageproof.watch.current import CurrentTasks
from pageproof.watch.frames import kernel_stack
from pageproof.watch.registers import RegisterLayout
from pageproof.watch.remote import Remote
from pageproof.watch.source import Hit
from pageproof.watch.watchpoints import Watchpoints

STOP: Final = re.compile(
    r"T05thread:(?P<thread>(?:p[0-9a-f]{1,8}\.)?(?P<vcpu>[0-9a-f]{1,8}));"
    r"(?:(?P<kind>[ra]?)watch:(?P<address>[0-9a-f]{1,16});)?"
)
_PAGE_LAST: Final = PAGE_BYTES - 1
_ACCESS: Final = {"": Access.WRITE, "r": Access.READ, "a": Access.ACCESS}


@dataclass(frozen=True, slots=True)
class Stopped:
    """A vCPU of a stopped guest.

    Attributes:
        thread: its id in the protocol.
        vcpu: its number in QEMU, from 0.
        code: bytes before and after the instruction pointer.
    """

    thread: str
    vcpu: int
    registers: Registers
    code: tuple[bytes, bytes]


class Stops:
    """Decodes stops. The guest is stopped.

    Args:
        target: the guest.
        stub: of its gdb stub.
        watchpoints: what is armed.
        writes_only: reads are no hits.
        stacks: read the stack of each hit in kernel mode.

    Raises:
        PageproofError: the kernel has no variables that name the task of a CPU, or the connection
            failed.
    """

    def __init__(
        self,
        target: Target,
        stub: Remote,
        watchpoints: Watchpoints,
        *,
        writes_only: bool,
        stacks: bool,
    ) -> None:
        self._prog, self._reader = target.prog, target.reader
        self._stub, self._watchpoints = stub, watchpoints
        self._writes_only, self._stacks = writes_only, stacks
        self._architecture = arch.of(target.facts.arch)
        self._cpu = self._architecture.cpu
        self._current = CurrentTasks(target.prog, target.reader)
        self._layout = RegisterLayout(stub.target_description(), stub.where, self._cpu)

    def look(self, *threads: str) -> list[Stopped]:
        """Read the registers and the code of vCPUs."""
        answers = self._stub.ask(*(one for thread in threads for one in (f"Hg{thread}", "g")))
        found = []
        for thread, answer in zip(threads, answers[1::2], strict=True):
            registers = self._layout.read(answer)
            vcpu = int(thread.rpartition(".")[2], 16) - 1
            found.append(Stopped(thread, vcpu, registers, self._code(registers.ip, thread)))
        return found

    def reported(self, one: Stopped, address: int, kind: str, ns: int) -> list[Hit]:
        """Return the hits of a reported stop: one for each place that the instruction used.

        Args:
            one: the vCPU.
            address: of the watchpoint.
            kind: as in the stop reply: "" for a write, "r", "a".
            ns: when it stopped.
        """
        watchpoint = self._watchpoints.at(address)
        if watchpoint is None:  # disarmed meanwhile, or kept by QEMU from an earlier watch
            return self.unreported(one, ns)
        operand, certain = find_operand(
            self._cpu, one.code, one.registers, watchpoint.address, watchpoint.length
        )
        if operand is not None and certain:
            return self._hits(one, operand, ns)
        access = _ACCESS[kind]
        if access is Access.ACCESS and watchpoint.tells_writes:
            access = Access.READ
        return self._of_places(one, watchpoint.places.values(), access, ns)

    def is_near(self, one: Stopped) -> bool:
        """Return whether the last instruction of a vCPU may have used a page with a watchpoint.

        The address spaces do not matter here, as they do not to QEMU.
        """
        pages = {
            page
            for watchpoint in self._watchpoints
            for page in (
                watchpoint.address & ~_PAGE_LAST,
                watchpoint.address + watchpoint.length - 1 & ~_PAGE_LAST,
            )
        }
        return any(
            operand.address is None or operand.address & ~_PAGE_LAST in pages
            for operand in self._cpu.operands(*one.code, one.registers)
        )

    def has_halted(self, one: Stopped) -> bool:
        """Return whether a vCPU waits for an interrupt."""
        return self._cpu.has_halted(one.code[0])

    def unreported(self, one: Stopped, ns: int, before: Registers | None = None) -> list[Hit]:
        """Return the hits of the instruction that a vCPU has just executed.

        Args:
            one: the vCPU.
            ns: when it stopped.
            before: its registers before this instruction, if they are known.
        """
        values = one.registers.values
        still = before is not None and all(
            before.values[name] == values[name] for name in ("rsi", "rdi")
        )
        for operand in self._cpu.operands(*one.code, one.registers):
            if not (still and operand.string) and (hits := self._hits(one, operand, ns)):
                return hits
        return []

    def with_frame(self, hits: list[Hit]) -> list[Hit]:
        """Put the whole frame, which all hits of a stop have changed by now, into the last one."""
        if not hits:
            return hits
        place = self._watchpoints.place(hits[-1].place)
        if place is None:
            return hits
        try:
            page = self._reader.read_physical(place.paddr & ~_PAGE_LAST, PAGE_BYTES)
        except MemoryGap:
            return hits
        return [*hits[:-1], replace(hits[-1], page=page)]

    def _hits(self, one: Stopped, operand: Operand, ns: int) -> list[Hit]:
        places = (
            place
            for watchpoint in self._watchpoints
            if operand.overlaps(watchpoint.address, watchpoint.length)
            for place in watchpoint.places.values()
        )
        return self._of_places(one, places, Access.WRITE if operand.writes else Access.READ, ns)

    def _of_places(
        self, one: Stopped, places: Iterable[Place], access: Access, ns: int
    ) -> list[Hit]:
        registers = one.registers
        ours = [place for place in places if _counts(place, registers)]
        if not ours or (self._writes_only and access is Access.READ):
            return []
        current = self._current.of(registers, one.vcpu)
        user = registers.user_mode
        stack = kernel_stack(self._prog, self._cpu, registers) if self._stacks and not user else ()
        return [
            Hit(
                place=place.number,
                ns=ns,
                cpu=current.cpu,
                access=access,
                mode=Mode.USER if user else Mode.KERNEL,
                context=current.context,
                pid=current.pid,
                tid=current.tid,
                comm=current.comm,
                ip=registers.ip,
                value=self._value(place),
                stack=stack,
            )
            for place in ours
        ]

    def _value(self, place: Place) -> bytes | None:
        try:
            return self._reader.read_physical(place.paddr, place.length_bytes)
        except MemoryGap:
            return None

    def _code(self, ip: int, thread: str) -> tuple[bytes, bytes]:
        """Return code before and after an address; less at the end of what can be read."""
        start, end = max(ip - self._cpu.code_bytes, 0), ip + self._cpu.ahead_bytes
        for first, last in ((start, end), (max(start, ip & ~_PAGE_LAST), end), (start, ip)):
            data = self._read_code(first, last - first, thread) if first < last else b""
            if data:
                return data[: ip - first], data[ip - first :]
        return b"", b""

    def _read_code(self, address: int, length: int, thread: str) -> bytes:
        if self._architecture.is_upper(address):
            try:
                return self._reader.read_kernel_virtual(address, length)
            except MemoryGap:
                return b""
        try:
            # QEMU translates it with the page tables of the vCPU.
            return bytes.fromhex(self._stub.ask(f"Hg{thread}", f"m{address:x},{length:x}")[1])
        except ValueError:  # an error number
            return b""


def _counts(place: Place, registers: Registers) -> bool:
    """Return whether an address is that place in the address space of the vCPU."""
    return place.side is Mode.KERNEL or registers.table in place.roots


def find_operand(
    cpu: Cpu, code: tuple[bytes, bytes], registers: Registers, start: int, length_bytes: int
) -> tuple[Operand | None, bool]:
    """Return the operand of a stop at a watched range, and whether it is certain.

    Args:
        cpu: its instructions.
        code: before and after the instruction pointer.
        registers: after the instruction.
        start: address of the range that QEMU reported.
        length_bytes: its length.

    Returns:
        An operand in the range; otherwise one in its page, if no longer instruction is possible;
        otherwise none.
    """
    near = range(start & ~_PAGE_LAST, (start + length_bytes - 1 | _PAGE_LAST) + 1)
    other: Operand | None = None
    for one in cpu.operands(*code, registers):
        if one.overlaps(start, length_bytes):
            return one, True
        if other is None and (one.address is None or one.address in near):
            other = one
    if other is None or other.address is None:
        return None, False
    return other, True
