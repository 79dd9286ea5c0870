# SPDX-License-Identifier: GPL-2.0-or-later
"""What a debugger sees of a CPU that has stopped. Each architecture implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Registers(ABC):
    """Some registers of a CPU, by the names that gdb uses."""

    values: Mapping[str, int]

    @property
    @abstractmethod
    def ip(self) -> int:
        """The instruction pointer."""

    @property
    @abstractmethod
    def user_mode(self) -> bool:
        """Whether the CPU runs in user mode."""

    @property
    @abstractmethod
    def table(self) -> int:
        """Physical address of the root of the page tables."""

    @property
    @abstractmethod
    def per_cpu_bases(self) -> tuple[int, ...]:
        """What may be the base of the kernel's per-CPU variables, the likely one first."""


@dataclass(frozen=True, slots=True)
class Operand:
    """Memory that an instruction uses.

    Attributes:
        address: None if the instruction has overwritten a register of it.
        length: of the instruction up to where the CPU stopped.
        string: of a string instruction, which may also have ended without an access.
    """

    address: int | None
    size_bytes: int
    reads: bool
    writes: bool
    length: int
    string: bool = False

    def overlaps(self, start: int, length_bytes: int) -> bool:
        """Return whether it uses a byte of a range."""
        return (
            self.address is not None
            and self.address < start + length_bytes
            and start < self.address + self.size_bytes
        )


class Cpu(ABC):
    """The CPU of an architecture.

    Attributes:
        name: for messages.
        needed: registers that :meth:`registers` needs, by gdb's names.
        pt_regs: registers in ``struct pt_regs``: the kernel's name to gdb's.
        code_bytes: length of the longest instruction.
        ahead_bytes: length of an instruction at whose beginning the CPU may stop although a part of
            it has run.
    """

    name: ClassVar[str]
    needed: ClassVar[frozenset[str]]
    pt_regs: ClassVar[Mapping[str, str]]
    code_bytes: ClassVar[int]
    ahead_bytes: ClassVar[int]

    @abstractmethod
    def registers(self, values: Mapping[str, int]) -> Registers:
        """Return the registers with these values."""

    @abstractmethod
    def operands(self, before: bytes, after: bytes, registers: Registers) -> Iterator[Operand]:
        """Yield what the instruction may have used, longest instructions first.

        Args:
            before: up to code_bytes bytes before the instruction pointer.
            after: up to ahead_bytes bytes from there on.
            registers: after the instruction.
        """

    @abstractmethod
    def has_halted(self, before: bytes) -> bool:
        """Return whether the instruction before the instruction pointer waits for an interrupt."""
