# SPDX-License-Identifier: GPL-2.0-or-later
"""Kinds of swap entries (``include/linux/swapops.h``), the same on all architectures."""

from __future__ import annotations

from typing import Final

from pageproof.model import EntryKind, SwapLayout

#: The smallest ``MAX_SWAPFILES`` of any configuration: a lower type is swap even if the target's
#: layout is not known.
_ALWAYS_SWAP_BELOW: Final = 32 - 4 - 3 - 1 - 2

#: ``PTE_MARKER_*`` of ``include/linux/swapops.h``.
_MARKERS: Final = (
    (1 << 2, EntryKind.GUARD_MARKER),
    (1 << 1, EntryKind.POISON_MARKER),
    (1 << 0, EntryKind.UFFD_WP_MARKER),
)


def swap_kind(swap_type: int, offset: int, layout: SwapLayout | None) -> EntryKind:
    """Return what a swap entry is.

    Args:
        swap_type: of the entry.
        offset: of the entry.
        layout: the target's, None if not known.
    """
    if layout is None:
        return EntryKind.SWAP if swap_type < _ALWAYS_SWAP_BELOW else EntryKind.SPECIAL
    for (first, count), kind in (
        (layout.hwpoison, EntryKind.HWPOISON),
        (layout.migration, EntryKind.MIGRATION),
        (layout.device, EntryKind.DEVICE_PRIVATE),
    ):
        if first <= swap_type < first + count:
            return kind
    first, count = layout.marker
    if first <= swap_type < first + count:
        if count == 2 and swap_type == first:
            # 5.19 to 6.2: SWP_SWAPIN_ERROR came before the markers (9f186f9e5fa9).
            return EntryKind.POISON_MARKER
        for bit, kind in _MARKERS:
            if offset & bit:
                return kind
        return EntryKind.OTHER_MARKER
    return EntryKind.SWAP
