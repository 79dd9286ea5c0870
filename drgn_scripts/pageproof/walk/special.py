# SPDX-License-Identifier: GPL-2.0-or-later
"""Entries that no struct page counts."""

from __future__ import annotations

from collections.abc import Collection

from pageproof.arch import Architecture
from pageproof.model import Walk


def is_special(walk: Walk, architecture: Architecture) -> bool:
    """Return whether the entry at the end of a walk to a frame is ``pte_special()``."""
    return bool(walk.steps[-1].entry & architecture.special_mask)


def is_counted(walk: Walk, architecture: Architecture, zero_pages: Collection[int]) -> bool:
    """Return whether ``_mapcount`` counts a user mapping.

    Args:
        walk: to the frame, in a process's tables.
        architecture: of the target.
        zero_pages: frames of the zero page and the huge zero page, which are never counted.
    """
    return walk.pfn not in zero_pages and not is_special(walk, architecture)
