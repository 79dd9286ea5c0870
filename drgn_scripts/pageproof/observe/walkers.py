# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the walker of a target."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pageproof import arch
from pageproof.arch import Paging
from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.frame.content import is_plain_ram
from pageproof.find.frame.mapcount import huge_zero_pfn
from pageproof.find.kernel.expression import find_address
from pageproof.model import PagingFacts, TargetKind
from pageproof.model.asked import WalkerChoice
from pageproof.space.units import PAGE_BYTES, PAGE_SHIFT
from pageproof.walk import (
    ReadPhysical,
    Walker,
    make_walker,
    zeros_made_up,
)

#: Progress is reported after the first second, then at this interval.
_PROGRESS_SECONDS: Final = 0.2


def paging_form(target: Target, paging: PagingFacts) -> Paging:
    """Return the form of a target's page tables."""
    # For the live kernel _believable() decides which zeros are made up.
    zero_fills = target.facts.zero_fills and target.facts.kind is not TargetKind.LIVE
    return arch.of(target.facts.arch).paging(paging, zero_fills=zero_fills)


def walker_of(
    target: Target,
    paging: PagingFacts,
    choice: WalkerChoice = WalkerChoice.AUTO,
    progress: Callable[[str], None] | None = None,
) -> Walker:
    """Make the walker for a target's page tables.

    Args:
        target: an attached target.
        paging: from :func:`pageproof.find.kernel.paging.read_paging`.
        choice: what the user asked for.
        progress: called with a message when a sweep takes longer than a second.

    Raises:
        PageproofError: the user chose the engine in C and it cannot be loaded.
    """
    read: ReadPhysical = target.reader.read_physical
    if target.facts.kind is TargetKind.LIVE:
        read = _believable(read, lambda pfn: is_plain_ram(target.prog, paging, pfn))
    if progress is not None:
        read = _told(read, progress)
    form, reader = paging_form(target, paging), target.reader
    return make_walker(
        read,
        form,
        choice,
        reader.direct_memory(),
        reader.compressed_memory(),
        reader.file_memory(),
    )


def zero_pages(target: Target, paging: PagingFacts, walker: Walker) -> frozenset[int]:
    """Return the frames of the zero page and the huge zero page, which all processes map."""
    prog, zeros = target.prog, set()
    with suppress(PageproofError):
        address = find_address(prog, "empty_zero_page")
        pfn = walker.walk(paging.kernel_root, address).pfn
        zeros |= set() if pfn is None else {pfn}
    huge = huge_zero_pfn(prog)
    pages = arch.of(target.facts.arch).huge_page_bytes // PAGE_BYTES
    return frozenset(zeros if huge is None else zeros | set(range(huge, huge + pages)))


def _believable(read_physical: ReadPhysical, is_real: Callable[[int], bool]) -> ReadPhysical:
    """Read tables; accept a table of zeros only if the target reads that frame itself."""

    def read(paddr: int, length: int) -> bytes:
        data = read_physical(paddr, length)
        table = paddr & -PAGE_BYTES
        if any(data) or any(read_physical(table, PAGE_BYTES)) or is_real(table >> PAGE_SHIFT):
            return data
        raise zeros_made_up()

    return read


def _told(read_physical: ReadPhysical, progress: Callable[[str], None]) -> ReadPhysical:
    """Read, and report progress."""
    start = following = time.monotonic() + 1
    total = 0

    def read(paddr: int, length: int) -> bytes:
        nonlocal following, total
        total += length
        now = time.monotonic()
        if now >= following:
            seconds = now - start + 1
            progress(f"walking page tables: {total >> 10} KiB read in {seconds:.0f} s")
            following = now + _PROGRESS_SECONDS
        return read_physical(paddr, length)

    return read
