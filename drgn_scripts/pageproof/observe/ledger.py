# SPDX-License-Identifier: GPL-2.0-or-later
"""Sum up what walks found, by row of the kernel's memory map."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from pageproof.model import GAPS, Outcome, Range
from pageproof.model.kmap import Contents, MapRow

_LEAVES: Final = {1: "mapped_4k_bytes", 2: "mapped_2m_bytes", 3: "mapped_1g_bytes"}


class Ledger:
    """Sums up ranges by row. A range that crosses rows is divided among them."""

    def __init__(self, rows: Sequence[MapRow]) -> None:
        self._rows = rows
        self._starts = [row.start for row in rows]
        self._sums: dict[int, dict[str, int]] = {}
        self._tables: dict[int, str] = {}

    def open(self, row: MapRow, tables: str) -> None:
        """Set the tables that are walked for a row; a row that is not opened has no contents."""
        self._tables[self._starts.index(row.start)] = tables

    def add(self, seen: Range) -> None:
        """Add a range to the counts. Unmapped parts are skipped."""
        if seen.outcome is Outcome.NONE:
            return
        index = bisect_right(self._starts, seen.start) - 1
        start = seen.start
        while start <= seen.last:
            last = min(seen.last, self._rows[index].last)
            if index in self._tables:
                sums = self._sums.setdefault(index, {})
                for name in _columns(seen):
                    sums[name] = sums.get(name, 0) + last - start + 1
                if seen.shared_with is not None:
                    sums["shared_entries"] = sums.get("shared_entries", 0) + 1
            start, index = last + 1, index + 1

    def rows(self) -> tuple[MapRow, ...]:
        """Return the rows with their counts."""
        return tuple(
            replace(row, contents=Contents(self._tables[index], **self._sums.get(index, {})))
            if index in self._tables
            else row
            for index, row in enumerate(self._rows)
        )


def _columns(seen: Range) -> Iterable[str]:
    """Yield the names of the sums that a range adds to."""
    if seen.shared_with is not None:
        yield "shared_bytes"
        return
    if seen.outcome in GAPS:
        yield "unknown_bytes"
        return
    if seen.outcome is not Outcome.MAPPED or seen.permissions is None:
        yield "not_present_bytes"
        return
    yield _LEAVES[seen.level]
    may = seen.permissions
    if may.write:
        yield "writable_bytes"
    if may.execute:
        yield "executable_bytes"
    if may.write and may.execute:
        yield "write_execute_bytes"
    if may.user:
        yield "user_bytes"
