# SPDX-License-Identifier: GPL-2.0-or-later
"""The row of a memory map that has an address."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from pageproof.model.kmap import MapRow


def row_at(rows: Sequence[MapRow], address: int) -> MapRow:
    """The row of a memory map that has an address; the rows leave none out."""
    return rows[bisect_right([row.start for row in rows], address) - 1]
