# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical memory made of a few table entries, for tests of the walker."""

from __future__ import annotations

from collections.abc import Mapping

from pageproof.model import MemoryGap, Outcome
from pageproof.space.units import PAGE_BYTES

P, RW, US, PWT, PCD, A, D, PSE, G = (1 << n for n in range(9))
NX = 1 << 63
PAT_LARGE = 1 << 12
PROTNONE = G
TABLE = P | RW | US | A


class Tables:
    """Entries by the physical address that they are at; everything else in a table is zero.

    Reading is counted, so that tests can see how much work a walk was.
    """

    def __init__(
        self,
        entries: Mapping[int, int],
        *,
        missing: tuple[int, ...] = (),
        zero_pages: tuple[int, ...] = (),
    ) -> None:
        self.entries = dict(entries)
        self.missing = missing
        self.pages = {paddr // PAGE_BYTES for paddr in entries} | {
            page // PAGE_BYTES for page in zero_pages
        }
        self.reads = 0

    def read(self, paddr: int, length: int) -> bytes:
        self.reads += 1
        if paddr & -PAGE_BYTES in self.missing:
            raise MemoryGap(Outcome.EXCLUDED, "left out of the dump")
        if paddr // PAGE_BYTES not in self.pages:
            raise MemoryGap(Outcome.UNREADABLE, f"no memory at {paddr:#x}")
        return b"".join(
            self.entries.get(at, 0).to_bytes(8, "little") for at in range(paddr, paddr + length, 8)
        )
