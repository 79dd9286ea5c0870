# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn's own translation of an address, which shares no code with our walker."""

from __future__ import annotations

from typing import Final

import drgn
from drgn.helpers.linux.mm import follow_phys

from pageproof.find.process.vmas import mm_object
from pageproof.model import Answer, SecondOpinion
from pageproof.space.units import PAGE_SHIFT

#: Message of ``follow_phys()`` for an entry that maps nothing. A table that cannot be read has
#: other messages (libdrgn/linux_kernel_helpers.c).
_NOT_MAPPED: Final = "address is not mapped"


def second_opinion(
    prog: drgn.Program, mm: int | None, address: int, sme_mask: int
) -> SecondOpinion:
    """Translate an address with drgn's own walker.

    Args:
        prog: the target.
        mm: address of ``struct mm_struct``; None for the kernel's own tables.
        address: virtual address.
        sme_mask: the C-bit, which is removed from the physical address. drgn does not remove it
            from the addresses of tables and so cannot read them.

    Returns:
        ``answer`` is set only if drgn gives no usable answer, whatever our own walk found; see
        :func:`pageproof.judge.weigh`.
    """
    space = prog["init_mm"].address_of_() if mm is None else mm_object(prog, mm)
    try:
        paddr = follow_phys(space, address).value_() & ~sme_mask
    except drgn.FaultError as error:
        return SecondOpinion(None, None, str(error), *_silent(error, sme_mask))
    return SecondOpinion(paddr, paddr >> PAGE_SHIFT)


def _silent(error: drgn.FaultError, sme_mask: int) -> tuple[Answer | None, str]:
    if sme_mask:
        return Answer.SILENT, "drgn does not know the C-bit of memory encryption"
    if error.message != _NOT_MAPPED:
        return Answer.SILENT, "drgn could not read a table on the way"
    return None, ""
