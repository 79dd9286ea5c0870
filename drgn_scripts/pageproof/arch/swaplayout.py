# SPDX-License-Identifier: GPL-2.0-or-later
"""Which swap types are not swap (``include/linux/swap.h``), from the kernel under test."""

from __future__ import annotations

import drgn

from pageproof.arch.kernel import has_symbol, optional_number
from pageproof.model import SwapLayout


def read_swap_layout(prog: drgn.Program) -> SwapLayout | None:
    """Read what :func:`swap_layout` needs; None if the target does not have it."""
    try:
        files = prog["swap_info"].type_.length
    except LookupError:
        return None
    if files is None:
        return None
    try:
        prog.constant("PG_anon_exclusive")
        exclusive = True
    except LookupError:
        exclusive = False
    poison = optional_number(prog, "sysctl_memory_failure_recovery") is not None
    return swap_layout(files, poison, exclusive, migrates=has_symbol(prog, "migrate_pages"))


def swap_layout(
    files: int, poison: bool, exclusive: bool, *, migrates: bool = True
) -> SwapLayout | None:
    """Return where the special swap types begin.

    ``include/linux/swap.h``: of 32 types the last are, in this order, hwpoison
    (0 or 1), migration (2, or 3 since 6c287605fd56 in 5.19, which also brought
    PG_anon_exclusive), device memory (0, 2, 4, or 3 since 6.15) and markers (0,
    1 or, with the swap-in error of 5.19 to 6.2, 2). They are macros, which
    DWARF does not have, but the kernel's own array has one element for each type
    that is left for swap files.

    Args:
        files: MAX_SWAPFILES, the length of ``swap_info``.
        poison: the kernel has CONFIG_MEMORY_FAILURE.
        exclusive: it has PG_anon_exclusive.
        migrates: it has CONFIG_MIGRATION.

    Returns:
        None if the numbers fit no known layout.
    """
    if exclusive:
        migration, splits = 3, {0: (0, 0), 1: (0, 1), 2: (0, 2), 4: (3, 1), 5: (4, 1), 6: (4, 2)}
    else:
        migration, splits = 2, {0: (0, 0), 2: (2, 0), 4: (4, 0)}
    if not migrates:
        migration = 0
    hwpoison = int(poison)
    first_device = files + hwpoison + migration
    rest = 32 - first_device
    if rest not in splits:
        return None
    device, marker = splits[rest]
    return SwapLayout(
        hwpoison=(files, hwpoison),
        migration=(files + hwpoison, migration),
        device=(first_device, device),
        marker=(first_device + device, marker),
    )
