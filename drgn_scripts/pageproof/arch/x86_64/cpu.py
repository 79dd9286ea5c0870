# SPDX-License-Identifier: GPL-2.0-or-later
"""The CPU of x86_64 as a debugger sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from pageproof.arch.cpu import Cpu, Operand, Registers
from pageproof.arch.x86_64.instructions import CODE_BYTES, STRING_BYTES, operands

#: The kernel's names in ``struct pt_regs``.
_PT_REGS: Final = {
    **{name: name for name in ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")},
    **{name: f"r{name}" for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip")},
    "flags": "eflags",
    "cs": "cs",
    "ss": "ss",
}
#: Bits 12 to 51 of CR3: the table. Below are the PCID and flags, above LAM's (Intel SDM, 4.5).
_CR3_TABLE: Final = 0x000F_FFFF_FFFF_F000
_CS_RPL: Final = 3
_HLT: Final = b"\xf4"


class X86Registers(Registers):
    """Registers of a CPU."""

    @property
    def ip(self) -> int:
        return self.values["rip"]

    @property
    def user_mode(self) -> bool:
        return self.values["cs"] & _CS_RPL == _CS_RPL

    @property
    def table(self) -> int:
        return self.values["cr3"] & _CR3_TABLE

    @property
    def per_cpu_bases(self) -> tuple[int, ...]:
        """The bases of GS, of which one is the kernel's.

        The kernel runs with its own base except in the first instructions of an entry
        (arch/x86/entry/entry_64.S, swapgs).
        """
        both = self.values["gs_base"], self.values["k_gs_base"]
        return both[::-1] if self.user_mode else both


class X86Cpu(Cpu):
    """The CPU."""

    name: ClassVar[str] = "x86_64"
    needed: ClassVar[frozenset[str]] = frozenset(
        (*_PT_REGS.values(), "fs_base", "gs_base", "k_gs_base", "cr3")
    )
    pt_regs: ClassVar[Mapping[str, str]] = _PT_REGS
    code_bytes: ClassVar[int] = CODE_BYTES
    ahead_bytes: ClassVar[int] = STRING_BYTES

    def registers(self, values: Mapping[str, int]) -> Registers:
        return X86Registers(values)

    def operands(self, before: bytes, after: bytes, registers: Registers) -> Iterator[Operand]:
        return operands(before, after, registers)

    def has_halted(self, before: bytes) -> bool:
        return before.endswith(_HLT)
