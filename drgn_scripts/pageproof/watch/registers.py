# SPDX-License-Identifier: GPL-2.0-or-later
"""A vCPU's registers in the answer to the packet ``g``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pageproof.errors import PageproofError

#: What pageproof uses. The first ones are in ``struct pt_regs``, by the kernel's names.
PT_REGS: Final = {
    **{name: name for name in ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")},
    **{name: f"r{name}" for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip")},
    "flags": "eflags",
    "cs": "cs",
    "ss": "ss",
}
_NEEDED: Final = frozenset((*PT_REGS.values(), "fs_base", "gs_base", "k_gs_base", "cr3"))
#: Bits 12 to 51 of CR3: the table. Below are the PCID and flags, above LAM's (Intel SDM, 4.5).
_CR3_TABLE: Final = 0x000F_FFFF_FFFF_F000
_CS_RPL: Final = 3

_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_REGISTER: Final = re.compile(r"<reg\s([^<>]{1,300})>")
_ATTRIBUTE: Final = re.compile(r'([a-z]{1,20})="([^"<>]{0,60})"')
_MOST_REGISTERS: Final = 1000
_MOST_BITS: Final = 4096


@dataclass(frozen=True, slots=True)
class Registers:
    """Some registers of a vCPU."""

    values: Mapping[str, int]

    @property
    def ip(self) -> int:
        return self.values["rip"]

    @property
    def user_mode(self) -> bool:
        return self.values["cs"] & _CS_RPL == _CS_RPL

    @property
    def table(self) -> int:
        """Physical address of the root of the page tables."""
        return self.values["cr3"] & _CR3_TABLE

    @property
    def kernel_gs(self) -> tuple[int, int]:
        """The bases of GS, of which one is the kernel's: the likely one first.

        The kernel runs with its own base except in the first instructions of an entry
        (arch/x86/entry/entry_64.S, swapgs).
        """
        both = self.values["gs_base"], self.values["k_gs_base"]
        return both[::-1] if self.user_mode else both


class RegisterLayout:
    """Where registers are in the answer.

    Args:
        description: the XML files of the target description, in order.
        where: for messages.

    Raises:
        PageproofError: a register is missing.
    """

    def __init__(self, description: str, where: str) -> None:
        self._where = where
        self._slices: dict[str, slice] = {}
        at = 0
        for match in _REGISTER.findall(_COMMENT.sub("", description))[:_MOST_REGISTERS]:
            attributes = dict(_ATTRIBUTE.findall(match))
            bits = _number(attributes.get("bitsize", ""))
            if not 0 < bits <= _MOST_BITS:
                raise self._unknown("a register has no size")
            name = attributes.get("name", "")
            digits = bits // 8 * 2
            if name in _NEEDED:
                self._slices.setdefault(name, slice(at, at + digits))
            at += digits
        missing = _NEEDED - self._slices.keys()
        if missing:
            raise self._unknown(f"it has no {', '.join(sorted(missing))}")
        self._least = max(one.stop for one in self._slices.values())

    def read(self, answer: str) -> Registers:
        """Decode the answer to ``g``: hex digits, each register in little-endian order.

        Raises:
            PageproofError: it is not that.
        """
        if len(answer) < self._least:
            raise self._unknown(f"registers are {answer[:40]!r}")
        try:
            return Registers(
                {
                    name: int.from_bytes(bytes.fromhex(answer[where]), "little")
                    for name, where in self._slices.items()
                }
            )
        except ValueError:
            raise self._unknown("registers are not hex digits") from None

    def _unknown(self, reason: str) -> PageproofError:
        return PageproofError(
            f"the registers of this gdb stub are not those of an x86_64 QEMU: {reason}",
            self._where,
            "watching from outside is for qemu-system-x86_64",
        )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else -1
