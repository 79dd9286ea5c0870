# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps of which pageproof gives drgn the memory: a flattened ELF core, and a split dump."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import drgn

from pageproof.attach.elfmap import ElfMap
from pageproof.attach.physical import add_to_drgn, assumed_platform
from pageproof.attach.splitparts import SplitPart, missing_pages
from pageproof.model import MemoryGap, Outcome
from pageproof.space.units import PAGE_BYTES

_END: Final = 1 << 64


def attach_flattened(info: bytes, memory: ElfMap) -> drgn.Program:
    """Attach to a flattened ELF core.

    Args:
        info: VMCOREINFO.
        memory: the dump's memory, which is mapped.
    """
    prog = _program(info)
    add_to_drgn(prog, 0, _END - 1, memory.read)
    return prog


def attach_split(info: bytes, parts: Sequence[SplitPart]) -> drgn.Program:
    """Attach to a split dump: libkdumpfile reads the pages of each part.

    Args:
        info: VMCOREINFO.
        parts: the parts, which were checked.
    """
    prog = _program(info)
    for part in parts:
        layout = part.layout
        if layout.pages:
            one = drgn.Program()
            one.set_core_dump(str(part.path))
            start, end = layout.first_page * PAGE_BYTES, layout.end_page * PAGE_BYTES
            prog.add_memory_segment(start, end - start, _reader_of(one), True)
    for pages in missing_pages(parts):
        add_to_drgn(prog, pages.start * PAGE_BYTES, len(pages) * PAGE_BYTES, _not_given)
    return prog


def fault_if_omitted(prog: drgn.Program, memory: ElfMap) -> None:
    """Let reads of memory that an ELF core names and omits fail; drgn returns zeros.

    Zeros would also be right if makedumpfile omitted the pages because they are zeros (level 1),
    but the dump does not record why. See program_set_core_dump_fd_internal() in drgn's program.c.
    """
    for start, length, physical in memory.omitted():
        prog.add_memory_segment(start, length, _omitted, physical)


def _program(info: bytes) -> drgn.Program:
    prog = drgn.Program(assumed_platform())
    prog.set_linux_kernel_custom(info, False)
    return prog


def _reader_of(prog: drgn.Program) -> Callable[[int, int, int, bool], bytes]:
    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        data: bytes = prog.read(address, count, True)
        return data

    return read


def _not_given(paddr: int, length: int) -> bytes:
    raise MemoryGap(Outcome.EXCLUDED, "memory in a part of the dump that was not given")


def _omitted(address: int, count: int, offset: int, physical: bool) -> bytes:
    raise drgn.FaultError("memory that was left out of the dump", address)
