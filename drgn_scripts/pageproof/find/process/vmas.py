# SPDX-License-Identifier: GPL-2.0-or-later
"""The bounds of all VMAs of an address space, and whether it is locked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn

from pageproof.find.bulk import bulk_of
from pageproof.find.bulk.layout import fields_of
from pageproof.find.bulk.protocol import Field, VmaRecord, Vmas
from pageproof.find.kernel.debuginfo import of_program
from pageproof.model.auditfacts import VmaTable

_START, _END, _FLAGS = (VmaRecord._fields.index(name) for name in ("start", "end", "vm_flags"))
#: include/linux/rwbase_rt.h
_READER_BIAS, _U32 = 1 << 31, (1 << 32) - 1
#: Bits of the count of ``struct rw_semaphore`` (kernel/locking/rwsem.c) that are no lock: waiters
#: and handoff.
_NOT_HELD: Final = 0b110


def mm_object(prog: drgn.Program, mm: int) -> drgn.Object:
    """Return ``struct mm_struct *`` at an address, for use in this room only."""
    return drgn.Object(prog, "struct mm_struct *", mm)


def vma_bounds(prog: drgn.Program, mm: int) -> VmaTable:
    """Return the range and flags of each VMA of an address space.

    On a live target compare two results: VMAs may be mapped and unmapped while they are read.

    Args:
        prog: the target.
        mm: address of ``struct mm_struct``.

    Raises:
        ValueError: some are missing, or one is not valid.
    """
    vmas = bulk_of(prog).vmas([mm], once=True)
    if _lost(vmas):
        vmas = bulk_of(prog).vmas([mm])
    if lost := _lost(vmas):
        raise ValueError(lost)
    starts, ends = vmas.column(_START), vmas.column(_END)
    for last, start, end in zip([0, *ends], starts, ends, strict=False):
        if not last <= start < end:
            raise ValueError(f"a VMA from {start:#x} to {end:#x} is not valid")
    return VmaTable(starts, ends, vmas.column(_FLAGS))


def _lost(vmas: Vmas) -> str:
    (space,) = vmas.spaces
    return space.lost or next(iter(vmas.faults.values()), "")


def are_locked(prog: drgn.Program, mms: Sequence[int]) -> list[bool | None]:
    """Return whether the mmap_lock of each mm is held, for reading or writing.

    In ``struct rw_semaphore`` (kernel/locking/rwsem.c) bits 1 and 2 of the count mean waiters and
    handoff. Any other bit means that the lock is held. With PREEMPT_RT it is a ``struct rwbase_rt``
    (include/linux/rwbase_rt.h), which is free if the count is READER_BIAS.

    Returns:
        for each mm; None if it cannot be read.
    """
    real_time, field = _lock(prog)
    rows = bulk_of(prog).gather(mms, (field,))
    return [
        None
        if number in rows.faults
        else count & _U32 != _READER_BIAS
        if real_time
        else bool(count & ~_NOT_HELD)
        for number, count in enumerate(rows.column(0))
    ]


@of_program
def _lock(prog: drgn.Program) -> tuple[bool, Field]:
    """Return whether locks are those of PREEMPT_RT, and their count."""
    mm = prog.type("struct mm_struct")
    try:
        return False, fields_of(mm, "mmap_lock.count.counter")[0]
    except LookupError:
        return True, fields_of(mm, "mmap_lock.rwbase.readers.counter")[0]
