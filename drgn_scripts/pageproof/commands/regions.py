# SPDX-License-Identifier: GPL-2.0-or-later
"""``regions``: show what the kernel shares with user space."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from pageproof import __version__, judge
from pageproof.attach import Target
from pageproof.errors import Exit, PageproofError
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.mappings import check_process
from pageproof.find.shared import Claimed, all_finders, by_region
from pageproof.model import MappingFacts, PagingFacts, Severity
from pageproof.model.asked import RegionsAsked
from pageproof.model.quick import quick, without_collector
from pageproof.model.regions import REGIONS_SCHEMA, RegionsReport, RegionUse, SharedRegion
from pageproof.observe.attempts import look_again, look_until
from pageproof.observe.search import search_shared
from pageproof.observe.walkers import walker_of
from pageproof.walk import TooMuchWork, Walker


def regions(target: Target, asked: RegionsAsked, progress: Callable[[str], None]) -> RegionsReport:
    """Find the shared memory that the user selected, and how much of it is mapped.

    On a live target the search is repeated, a bounded number of times, while
    processes start and exit.

    Raises:
        PageproofError: there is no such process, or it has no address space.
    """
    paging = read_paging(target.prog)
    if asked.pid is not None:
        pid = asked.pid
        look_again(lambda: check_process(target.prog, pid), live=target.facts.live)
    walker = walker_of(target, paging, progress=progress)
    progress("searching the processes")
    with without_collector():
        report, attempts = look_until(
            lambda seen: all(one.severity is Severity.NOTE for one in seen.findings),
            lambda: _look(target, paging, walker, asked),
            live=target.facts.live,
        )
    return replace(report, attempts=attempts)


_use: Final = quick(RegionUse)


def _look(
    target: Target, paging: PagingFacts, walker: Walker, asked: RegionsAsked
) -> RegionsReport:
    finders = [one for one in all_finders() if not asked.kinds or one.kind in asked.kinds]
    found = search_shared(target, paging, finders, asked.pid)
    some = tuple(
        region
        for region in _grouped(found.claimed, walker)
        if asked.name is None or asked.name in region.name
    )
    unread = tuple(judge.unread(one.kind, one.vma, one.message) for one in found.unclaimed)
    gaps = any(use.unknown_pages for region in some for use in region.uses)
    sure = some and not unread and not found.faults and not gaps
    return RegionsReport(
        schema=REGIONS_SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        regions=some,
        task_faults=found.faults,
        findings=(
            *unread,
            *judge.task_findings(found.faults),
            *judge.unknown_parts((one.kind, one.what, one.mapping) for one in found.unknown),
        ),
        attempts=1,
        exit_code=Exit.SOUND if sure else Exit.UNDECIDED,
    )


def _grouped(claimed: Sequence[Claimed], walker: Walker) -> Iterator[SharedRegion]:
    """Yield regions in the finders' order, each with all its VMAs."""
    residency = _residency(walker, [one.mapping for one in claimed])
    for same in by_region(claimed):
        finder, claim = same[0].finder, same[0].claim
        yield SharedRegion(
            kind=finder.kind,
            part=claim.part,
            name=claim.name,
            owner=claim.owner,
            owner_type=claim.owner_type,
            pages=claim.pages,
            uses=tuple(
                _use(one.mapping, one.claim.first_page, *residency[id(one.mapping)]) for one in same
            ),
        )


def _residency(walker: Walker, mappings: Iterable[MappingFacts]) -> dict[int, tuple[int, int]]:
    """Count the pages of VMAs with a frame, and the unknown ones; all VMAs of a process at once.

    Returns:
        Both numbers, by the id() of the mapping.
    """
    by_root: dict[int, list[MappingFacts]] = {}
    for mapping in mappings:
        by_root.setdefault(mapping.root, []).append(mapping)
    found: dict[int, tuple[int, int]] = {}
    for root, some in by_root.items():
        try:
            counts = _counts(walker, root, some)
        except TooMuchWork:
            counts = [_count(walker, root, one) for one in some]
        found.update(zip(map(id, some), counts, strict=True))
    return found


def _counts(walker: Walker, root: int, mappings: Sequence[MappingFacts]) -> list[tuple[int, int]]:
    spans = array("Q")
    for one in mappings:
        assert one.vma is not None
        spans.extend((0, one.vma.pages, one.vma.start))
    return walker.sides(root, spans).counts(len(mappings))


def _count(walker: Walker, root: int, mapping: MappingFacts) -> tuple[int, int]:
    assert mapping.vma is not None
    try:
        return _counts(walker, root, [mapping])[0]
    except TooMuchWork:
        return 0, mapping.vma.pages


def kind_names() -> tuple[str, ...]:
    """Return the kinds that finders recognise."""
    return tuple(finder.kind for finder in all_finders())


def check_kinds(kinds: Iterable[str]) -> None:
    """Raise PageproofError for a kind that no finder recognises."""
    for kind in kinds:
        if kind not in kind_names():
            raise PageproofError(
                f"there is no finder for {kind!r}", "--kind", f"one of {', '.join(kind_names())}"
            )
