# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a frame is mapped now, for commands that watch it for longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pageproof.attach import Target
from pageproof.model import PagingFacts, TaskFault
from pageproof.model.alias import Alias, SweepGap
from pageproof.observe.sweep import Sweep
from pageproof.walk import Walker


@dataclass(frozen=True)
class Spot:
    """One virtual address of the frame's first byte.

    Attributes:
        row: of the kernel's memory map; "" for a user address.
        pid, comm, mm: of the process; 0 and "" for a kernel address.
        roots: physical addresses of the tables that map it; empty for a kernel address, which all
            tables have.
    """

    address: int
    row: str = ""
    pid: int = 0
    comm: str = ""
    mm: int = 0
    roots: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[int, int]:
        """What identifies it: address space and address."""
        return self.mm, self.address


@dataclass(frozen=True)
class Spots:
    """All addresses of the frame, the kernel's first, and why some may be missing."""

    found: tuple[Spot, ...]
    doubts: tuple[TaskFault | SweepGap, ...]


def frame_spots(target: Target, paging: PagingFacts, walker: Walker, pfn: int) -> Spots:
    """Find every address that leads to a frame, by a sweep of all page tables."""
    sweep = Sweep(target, paging, walker, [pfn])
    aliases, _ = sweep.aliases(pfn)
    spots = {one.key: one for one in _spots(aliases)}
    return Spots(tuple(spots.values()), sweep.doubts)


def _spots(aliases: tuple[Alias, ...]) -> Iterator[Spot]:
    for one in aliases:
        # A process's own tables of the upper half (LDT) and EFI's count in few places only.
        if one.region is not None and one.tables.startswith("init_mm"):
            yield Spot(one.address, one.region)
    for one in aliases:
        process = one.process
        if one.region is None and process is not None:
            roots = dict.fromkeys((process.kernel_half_root, process.root))
            yield Spot(one.address, "", process.pid, process.comm, process.mm, tuple(roots))
