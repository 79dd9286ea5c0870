# SPDX-License-Identifier: GPL-2.0-or-later
"""Entries that no struct page counts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pageproof.model import Walk

#: ``_PAGE_SPECIAL``, software bit 1: what ``vm_normal_page()`` takes for no page of the kernel's.
_SPECIAL: Final = 1 << 9


def is_special(walk: Walk) -> bool:
    """Whether the entry that a walk ended at, with a frame, says that no struct page counts it."""
    return bool(walk.steps[-1].entry & _SPECIAL)


def is_counted(walk: Walk, zero_pages: Collection[int]) -> bool:
    """Whether ``_mapcount`` counts a user mapping.

    Args:
        walk: to the frame, in a process's tables.
        zero_pages: frames of the zero page and the huge one, which it never counts.
    """
    return walk.pfn not in zero_pages and not is_special(walk)
