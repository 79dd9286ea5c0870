# SPDX-License-Identifier: GPL-2.0-or-later
"""Look up rows of a memory map, and what is mapped in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from pageproof.model import Range
from pageproof.model.kmap import MapRow
from pageproof.space.spans import is_mapped, within


def row_at(rows: Sequence[MapRow], address: int) -> MapRow:
    """Return the row that contains an address; rows cover all addresses."""
    return rows[bisect_right(rows, address, key=lambda row: row.start) - 1]


def named_rows(rows: Iterable[MapRow], *names: str) -> list[MapRow]:
    """Return the rows with one of some names."""
    return [row for row in rows if row.region in names]


def mapped_in(rows: Iterable[MapRow], ranges: Sequence[Range]) -> list[Range]:
    """Return the mapped ranges in some rows.

    Args:
        rows: to look at.
        ranges: in order of address.
    """
    return [
        one for row in rows for one in within(ranges, row.start, row.last + 1) if is_mapped(one)
    ]
