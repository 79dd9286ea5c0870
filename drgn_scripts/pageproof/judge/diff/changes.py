# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of mappings, of the verdicts of their pages and of frames."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from pageproof.judge.diff.pages import Held, MappingKey, OpinionRun, Pages, RegionKey
from pageproof.model import Verdict, VmaFacts
from pageproof.model.diff import (
    Aspect,
    Change,
    FrameChange,
    MappingChange,
    Opinion,
    Side,
    VerdictChange,
    VmaShape,
)
from pageproof.space.units import PAGE_BYTES


def mapping_changes(
    old: Pages, new: Pages, pairs: Mapping[MappingKey, MappingKey]
) -> Iterator[MappingChange]:
    """Yield mappings that are gone, new, moved or changed."""
    for place, held in old.held.items():
        if place not in pairs:
            yield _change(Change.GONE, old, place, held, None)
            continue
        now = new.held[pairs[place]]
        aspects = tuple(_aspects(held, now))
        if pairs[place] != place:
            yield _change(Change.MOVED, new, pairs[place], held, now, aspects)
        elif aspects:
            yield _change(Change.CHANGED, new, place, held, now, aspects)
    there = set(pairs.values())
    for place, held in new.held.items():
        if place not in there:
            yield _change(Change.NEW, new, place, None, held)


def _aspects(old: Held, new: Held) -> Iterator[Aspect]:
    before, after = _sorted(old), _sorted(new)
    if [(one.pgoff_pages, one.pages) for one in before] != [
        (one.pgoff_pages, one.pages) for one in after
    ]:
        yield Aspect.PAGES
    if {one.vm_flags for one in before} != {one.vm_flags for one in after}:
        yield Aspect.VM_FLAGS
    if {one.vm_page_prot for one in before} != {one.vm_page_prot for one in after}:
        yield Aspect.VM_PAGE_PROT


def _sorted(held: Held) -> list[VmaFacts]:
    return sorted(held.vmas, key=lambda vma: vma.start)


def _change(
    change: Change,
    pages: Pages,
    place: MappingKey,
    old: Held | None,
    new: Held | None,
    aspects: tuple[Aspect, ...] = (),
) -> MappingChange:
    facts = pages.held[place].facts
    return MappingChange(
        change=change,
        region=pages.names.get(place.region),
        pid=facts.pid,
        comm=facts.comm,
        mm=facts.mm,
        file=_file(facts.vma),
        old=_spans(old),
        new=_spans(new),
        aspects=aspects,
    )


def _file(vma: VmaFacts | None) -> str:
    if vma is None:
        return ""
    return vma.file.dentry_name if vma.file else vma.vm_ops_symbol


def _spans(held: Held | None) -> tuple[VmaShape, ...]:
    return tuple(
        VmaShape(
            start=vma.start,
            end=vma.end,
            pgoff_pages=vma.pgoff_pages,
            vm_flags=vma.vm_flags,
            vm_flags_words=vma.vm_flags_words,
            vm_page_prot=vma.vm_page_prot,
            vm_page_prot_words=vma.vm_page_prot_words,
        )
        for vma in (_sorted(held) if held else ())
    )


def verdict_changes(
    old: Pages, new: Pages, pairs: Mapping[MappingKey, MappingKey]
) -> Iterator[VerdictChange]:
    """Yield pages of both reports whose verdict changed, and new pages that are DIFFERENT."""
    before = {now: old.held[place] for place, now in pairs.items()}
    for place, held in new.held.items():
        was = before[place].runs if place in before else []
        name = new.names.get(place.region)
        found: list[VerdictChange] = []
        for first, pages, opinion, now in _compared(was, held.runs):
            if opinion == now.opinion:
                continue
            if opinion is None and now.opinion.verdict is not Verdict.DIFFERENT:
                continue
            change = VerdictChange(
                region=name,
                pid=held.facts.pid,
                comm=held.facts.comm,
                page=None if name is None else first + now.shift,
                user_address=place.base + first * PAGE_BYTES,
                pages=pages,
                old=opinion,
                new=now.opinion,
            )
            if found and _goes_on(found[-1], change):
                found[-1] = replace(found[-1], pages=found[-1].pages + pages)
            else:
                found.append(change)
        yield from found


def _goes_on(one: VerdictChange, other: VerdictChange) -> bool:
    pages = None if one.page is None else one.page + one.pages
    return (one.old, one.new, pages, one.user_address + one.pages * PAGE_BYTES) == (
        other.old,
        other.new,
        other.page,
        other.user_address,
    )


def _compared(
    old: Sequence[OpinionRun], new: Sequence[OpinionRun]
) -> Iterator[tuple[int, int, Opinion | None, OpinionRun]]:
    """Yield pieces of the newer report's pages: first, number, older opinion, newer run."""
    before, after = _Line(old), _Line(new)
    edges = {edge for run in (*old, *new) for edge in (run.first, run.first + run.pages)}
    for first, end in pairwise(sorted(edges)):
        now = after.at(first)
        if now is not None:
            was = before.at(first)
            yield first, end - first, None if was is None else was.opinion, now


class _Line:
    """Look up runs by page."""

    def __init__(self, runs: Iterable[OpinionRun]) -> None:
        self._runs = sorted(runs, key=lambda run: run.first)
        self._firsts = [run.first for run in self._runs]

    def at(self, page: int) -> OpinionRun | None:
        number = bisect_right(self._firsts, page) - 1
        if number < 0:
            return None
        run = self._runs[number]
        return run if page < run.first + run.pages else None


def frame_changes(
    old: Pages, new: Pages, pairs: Mapping[MappingKey, MappingKey]
) -> Iterator[FrameChange]:
    """Yield pages with evidence in both reports whose frame changed; a region's own only once."""
    told: set[tuple[RegionKey, int | None]] = set()
    in_order = sorted(pairs.items(), key=lambda item: (item[1].pid, item[1].base))
    for place, now in in_order:
        before, after = old.held[place].evidence, new.held[now].evidence
        facts = new.held[now].facts
        name = new.names.get(now.region)
        for page in sorted(before.keys() & after.keys()):
            one, other = before[page], after[page]
            index = other.page_index
            for side, was, is_ in (
                (Side.KERNEL, one.kernel_walk.pfn, other.kernel_walk.pfn),
                (Side.USER, one.user_walk.pfn, other.user_walk.pfn),
            ):
                if was is None or is_ is None or was == is_:
                    continue
                if side is Side.KERNEL and index is not None:
                    if (now.region, index) in told:
                        continue
                    told.add((now.region, index))
                yield FrameChange(
                    region=name,
                    pid=facts.pid,
                    comm=facts.comm,
                    page=index,
                    user_address=other.user_address,
                    side=side,
                    old_pfn=was,
                    new_pfn=is_,
                )
