# SPDX-License-Identifier: GPL-2.0-or-later
"""The stack of a CPU in kernel mode."""

from __future__ import annotations

from itertools import islice
from typing import Final

import drgn
from drgn import offsetof

from pageproof.arch.cpu import Cpu, Registers

#: Limit of frames.
_MOST_FRAMES: Final = 64
_WORD_BYTES: Final = 8


def kernel_stack(prog: drgn.Program, cpu: Cpu, registers: Registers) -> tuple[int, ...]:
    """Return the return addresses, the innermost first.

    It is only the instruction pointer if drgn cannot unwind the stack: it needs the sections
    ``.debug_ranges`` or ``.debug_rnglists`` of vmlinux, which some stripped ones lack.
    """
    kind = prog.type("struct pt_regs")
    data = bytearray(drgn.sizeof(kind))
    for member, register in cpu.pt_regs.items():
        at = offsetof(kind, member)
        data[at : at + _WORD_BYTES] = registers.values[register].to_bytes(_WORD_BYTES, "little")
    try:
        trace = prog.stack_trace(drgn.Object.from_bytes_(prog, kind, data))
    except Exception:  # drgn raises bare Exception for errors of libdw
        return (registers.ip,)
    found = []
    for frame in islice(trace, _MOST_FRAMES):
        try:
            found.append(int(frame.pc))
        except LookupError:
            break
    return tuple(found) or (registers.ip,)
