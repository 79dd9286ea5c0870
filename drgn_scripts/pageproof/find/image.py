# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's image and its modules: whether something static is still there."""

from __future__ import annotations

import drgn

from pageproof.find.debuginfo import of_program
from pageproof.find.modules import module_at
from pageproof.find.paging import START_KERNEL_MAP


@of_program
def image_ends(prog: drgn.Program) -> tuple[int, int]:
    """Addresses of the image's first byte and of that after its last; equal if not known."""
    try:
        return int(prog.symbol("_text").address), int(prog.symbol("_end").address)
    except LookupError:
        return START_KERNEL_MAP, START_KERNEL_MAP


def is_loaded(prog: drgn.Program, address: int) -> bool:
    """Whether an address is the image's or a loaded module's; True where that can't be told."""
    start, end = image_ends(prog)
    try:
        return start <= address < end or module_at(prog, address) is not None
    except (drgn.FaultError, LookupError, AttributeError, ValueError):
        return True
