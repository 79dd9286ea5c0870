# SPDX-License-Identifier: GPL-2.0-or-later
"""``maps``: show the VMAs of a process, and what its page tables hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from pageproof import __version__
from pageproof.arch import Paging
from pageproof.attach import Target
from pageproof.errors import Exit, PageproofError
from pageproof.find.frame.mapcount import read_mapcounts
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.maps import ProcessMaps, process_maps
from pageproof.model import MAPS_SCHEMA, MapsReport, PagingFacts, VmaResidency
from pageproof.observe.attempts import look_until
from pageproof.observe.residency import Spread, counted_runs, has_gaps, spread, with_mapcounts
from pageproof.observe.walkers import paging_form, walker_of
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import TooMuchWork, Walker


def maps(target: Target, pid: int, progress: Callable[[str], None]) -> MapsReport:
    """Read a process's VMAs and sweep its tables once.

    The tables are those that user mode runs on. On a live target the VMAs are
    read again after the sweep; if they changed, the whole look is repeated.

    Raises:
        PageproofError: there is no such process, or it has no address space.
    """
    paging = read_paging(target.prog)
    walker = walker_of(target, paging, progress=progress)
    report, attempts = look_until(
        lambda seen: seen.stable and not seen.lost,
        lambda: _look(target, paging, walker, pid, progress),
        live=target.facts.live,
    )
    return replace(report, attempts=attempts)


def _look(
    target: Target, paging: PagingFacts, walker: Walker, pid: int, progress: Callable[[str], None]
) -> MapsReport:
    progress("reading the VMAs")
    before = process_maps(target.prog, paging, pid)
    progress("sweeping the tables")
    found = _sweep(walker, paging_form(target, paging), before)
    vmas = tuple(_counted(target, vma) for vma in found.vmas)
    stable = not target.facts.live or before == _again(target, pid)
    sure = stable and bool(before.lines) and not before.lost and not has_gaps(found)
    return MapsReport(
        schema=MAPS_SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        process=before.process,
        pgtables_bytes=before.pgtables_bytes,
        vmas=vmas,
        lost=before.lost,
        outside=found.outside,
        attempts=1,
        stable=stable,
        exit_code=Exit.SOUND if sure else Exit.UNDECIDED,
    )


def _counted(target: Target, vma: VmaResidency) -> VmaResidency:
    counts: list[int] = []
    for run in counted_runs(vma):
        assert run.frame is not None
        pages = (run.last + 1 - run.start) // PAGE_BYTES
        counts += read_mapcounts(target.prog, run.frame // PAGE_BYTES, pages)
    return with_mapcounts(vma, counts)


def _again(target: Target, pid: int) -> ProcessMaps | None:
    try:
        return process_maps(target.prog, read_paging(target.prog), pid)
    except PageproofError:
        return None  # the process has ended meanwhile


def _sweep(walker: Walker, form: Paging, found: ProcessMaps) -> Spread:
    """Yield the ranges of the user half, then the vsyscall page, which is in the kernel's half."""
    root, user_last = found.process.root, form.lower_half_last
    parts = [walker.ranges(root, 0, user_last, merged=True)]
    parts += [
        walker.ranges(root, line.vma.start, line.vma.end - 1, merged=True)
        for line in found.lines
        if line.vma.start > user_last
    ]
    try:
        return spread(form, found.lines, chain.from_iterable(parts))
    except TooMuchWork as error:
        raise PageproofError(
            f"the tables of process {found.process.pid} have too many entries: {error}"
        ) from None
