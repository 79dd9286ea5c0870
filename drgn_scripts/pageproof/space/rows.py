# SPDX-License-Identifier: GPL-2.0-or-later
"""Look up rows of a memory map, and what is mapped in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence

from pageproof.model import Range
from pageproof.model.kmap import MapRow
from pageproof.space.spans import is_mapped, within


def row_at(rows: Sequence[MapRow], address: int) -> MapRow:
    """Return the row that contains an address; rows cover all addresses."""
    return rows[bisect_right(rows, address, key=lambda row: row.start) - 1]


def mapped_in(
    rows: Sequence[MapRow], regions: Collection[str], ranges: Sequence[Range]
) -> list[Range]:
    """Return what is mapped in the rows of some regions.

    Args:
        rows: of a memory map.
        regions: names of rows.
        ranges: in order of address.
    """
    return [
        one
        for row in rows
        if row.region in regions
        for one in within(ranges, row.start, row.last + 1)
        if is_mapped(one)
    ]
