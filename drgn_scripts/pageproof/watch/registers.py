# SPDX-License-Identifier: GPL-2.0-or-later
"""A vCPU's registers in the answer to the packet ``g``."""

from __future__ import annotations

import re
from typing import Final

from pageproof.arch.cpu import Cpu, Registers
from pageproof.errors import PageproofError

_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_REGISTER: Final = re.compile(r"<reg\s([^<>]{1,300})>")
_ATTRIBUTE: Final = re.compile(r'([a-z]{1,20})="([^"<>]{0,60})"')
_MOST_REGISTERS: Final = 1000
_MOST_BITS: Final = 4096


class RegisterLayout:
    """Where registers are in the answer.

    Args:
        description: the XML files of the target description, in order.
        where: for messages.
        cpu: what they are.

    Raises:
        PageproofError: a register is missing.
    """

    def __init__(self, description: str, where: str, cpu: Cpu) -> None:
        self._where, self._cpu = where, cpu
        self._slices: dict[str, slice] = {}
        at = 0
        for match in _REGISTER.findall(_COMMENT.sub("", description))[:_MOST_REGISTERS]:
            attributes = dict(_ATTRIBUTE.findall(match))
            bits = _number(attributes.get("bitsize", ""))
            if not 0 < bits <= _MOST_BITS:
                raise self._unknown("a register has no size")
            name = attributes.get("name", "")
            digits = bits // 8 * 2
            if name in cpu.needed:
                self._slices.setdefault(name, slice(at, at + digits))
            at += digits
        missing = cpu.needed - self._slices.keys()
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
            return self._cpu.registers(
                {
                    name: int.from_bytes(bytes.fromhex(answer[where]), "little")
                    for name, where in self._slices.items()
                }
            )
        except ValueError:
            raise self._unknown("registers are not hex digits") from None

    def _unknown(self, reason: str) -> PageproofError:
        return PageproofError(
            f"the registers of this gdb stub are not those of {self._cpu.name}: {reason}",
            self._where,
            "is it the stub of another machine?",
        )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else -1
