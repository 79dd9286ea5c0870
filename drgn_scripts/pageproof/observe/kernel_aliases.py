# SPDX-License-Identifier: GPL-2.0-or-later
"""Find where the kernel maps user frames, if the user did not give a kernel address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pageproof.attach import Target
from pageproof.find.identify.drgns import owners_of
from pageproof.model import MappingFacts, PagingFacts, TaskFault
from pageproof.model.alias import Alias, KernelSides, SweepGap
from pageproof.observe.sweep import Sweep
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import TooMuchWork, Walker

#: Pages of a mapping that are looked up.
LOOKED_UP_PAGES: Final = 64


@dataclass(frozen=True)
class Spot:
    """Adjacent pages of a process."""

    mapping: MappingFacts
    address: int
    pages: int


@dataclass
class _Run:
    """Adjacent pages whose frames and kernel mappings are adjacent too."""

    address: int
    pages: int
    pfn: int
    aliases: list[Alias]


def kernel_aliases(
    target: Target, paging: PagingFacts, walker: Walker, spots: Sequence[Spot]
) -> Iterator[KernelSides | TaskFault | SweepGap]:
    """Yield the kernel's mappings of the pages, and why some may be missing."""
    if not spots:
        return
    frames = [tuple(_frames(walker, spot)) for spot in spots]
    sweep = Sweep(target, paging, walker, {pfn for some in frames for _, pfn in some})
    yield from sweep.doubts
    runs = [
        (spot, run) for spot, some in zip(spots, frames, strict=True) for run in _runs(sweep, some)
    ]
    owners = owners_of(target.prog, [one.address for _, run in runs for one in run.aliases])
    for spot, run in runs:
        named = tuple((one, next(owners)) for one in run.aliases)
        yield KernelSides(spot.mapping.pid, run.address, run.pages, run.pfn, named)


def _frames(walker: Walker, spot: Spot) -> Iterator[tuple[int, int]]:
    """Yield address and PFN of the first pages that have a frame."""
    pages = min(spot.pages, LOOKED_UP_PAGES)
    for address in range(spot.address, spot.address + pages * PAGE_BYTES, PAGE_BYTES):
        try:
            pfn = walker.walk(spot.mapping.root, address).pfn
        except TooMuchWork:
            return
        if pfn is not None:
            yield address, pfn


def _runs(sweep: Sweep, frames: Iterable[tuple[int, int]]) -> Iterator[_Run]:
    run: _Run | None = None
    for address, pfn in frames:
        aliases = [one for one in sweep.aliases(pfn)[0] if one.region is not None]
        if run is not None:
            step = run.pages * PAGE_BYTES
            expected = [(one.tables, one.address + step) for one in run.aliases]
            adjoins = (address, pfn) == (run.address + step, run.pfn + run.pages)
            if adjoins and [(one.tables, one.address) for one in aliases] == expected:
                run.pages += 1
                continue
            yield run
        run = _Run(address, 1, pfn, aliases)
    if run is not None:
        yield run
