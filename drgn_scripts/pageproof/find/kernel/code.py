# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of instructions: function, module, line."""

from __future__ import annotations

from pathlib import PurePosixPath

import drgn

from pageproof.find.bounded import DamagedError
from pageproof.find.kernel.modules import module_at, module_name
from pageproof.find.kernel.symbols import symbol_at
from pageproof.model.watch import CodePlace


def kernel_code(prog: drgn.Program, pc: int) -> CodePlace:
    """Return the names of kernel code.

    Args:
        prog: the target.
        pc: address of the instruction after the one that is meant, as a return address is.
    """
    before = pc - 1
    symbol = _symbol(prog, before)
    words = "" if symbol is None else f"{symbol.name}+{pc - symbol.address:#x}"
    return CodePlace(pc, words, _module(prog, before), source_line(prog, before))


def _symbol(prog: drgn.Program, pc: int) -> drgn.Symbol | None:
    try:
        return symbol_at(prog, pc)
    except (drgn.FaultError, DamagedError, ValueError):
        return None


def _module(prog: drgn.Program, pc: int) -> str:
    try:
        module = module_at(prog, pc)
        return "" if module is None else module_name(module)
    except (drgn.FaultError, DamagedError):
        return ""


def source_line(prog: drgn.Program, pc: int) -> str:
    """Return "file.c:12" of an instruction, "" if debug info has none. Inlined code counts."""
    try:
        innermost = prog.source_location(pc)[0]
    except Exception:  # drgn raises bare Exception for libdw's errors: a section was stripped
        return ""
    if not innermost.filename:
        return ""
    return f"{PurePosixPath(innermost.filename).name}:{innermost.line}"
