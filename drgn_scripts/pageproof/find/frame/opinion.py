# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn's own translation of an address, which shares no code with our walker."""

from __future__ import annotations

from typing import Final

import drgn
from drgn.helpers.linux.mm import follow_phys

from pageproof.find.process.mappings import mm_object
from pageproof.model import Answer, SecondOpinion
from pageproof.space.units import PAGE_SHIFT

#: The words of ``follow_phys()`` for an entry that maps nothing. It has others for a table that it
#: can't read (libdrgn/linux_kernel_helpers.c).
_NOT_MAPPED: Final = "address is not mapped"


def second_opinion(
    prog: drgn.Program, mm: int | None, address: int, sme_mask: int
) -> SecondOpinion:
    """What drgn's own walker makes of an address.

    Args:
        prog: the target.
        mm: address of ``struct mm_struct``; None for the kernel's own tables.
        address: virtual address.
        sme_mask: the C-bit. It is taken out of drgn's physical address; drgn itself does not take
            it out of the addresses of tables, so that it can't read them.

    Returns:
        With an answer only where drgn is silent whatever our walk says; see
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
