# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify`` of all regions that finders find: judge every page, with evidence of some."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from pageproof import judge
from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.identify.memory import slab_at
from pageproof.find.shared import Claimed, Finder, Found, all_finders, by_region
from pageproof.find.shared.device import DEVICE, device_finder
from pageproof.judge import Differing
from pageproof.model import (
    FileFacts,
    Finding,
    MappingFacts,
    PageProof,
    PageRun,
    PagingFacts,
    ProvedRegion,
    ProvedUse,
    Severity,
    SlabState,
    TaskFault,
    Verdict,
)
from pageproof.model.asked import VerifyAsked
from pageproof.model.quick import quick
from pageproof.model.where import NOWHERE
from pageproof.observe.attempts import ATTEMPTS, look_until, nothing_new
from pageproof.observe.devices import maps_device
from pageproof.observe.kernel_aliases import Spot, kernel_aliases
from pageproof.observe.search import search_claims, search_shared
from pageproof.observe.uses import EVIDENCE_PAGES, Use, UseObserver, without_vanished
from pageproof.observe.verdicts import Judgement, verdict_at, with_verdicts
from pageproof.observe.walkers import walker_of
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import TooMuchWork, Walker


def _finders(asked: VerifyAsked) -> tuple[Finder, ...]:
    """Return the finders to use.

    If the user gave the kernel side, only the device finder applies.
    """
    if asked.device and asked.kernel.said:
        return (device_finder(asked.device, asked.kernel),)
    some = tuple(one for one in all_finders() if not asked.kinds or one.kind in asked.kinds)
    if asked.device and not asked.kinds:
        return (*some, device_finder(asked.device, asked.kernel))
    return some


@dataclass(frozen=True)
class Proved:
    """What verify reports."""

    regions: tuple[ProvedRegion, ...]
    mappings: tuple[MappingFacts, ...]
    proofs: tuple[PageProof, ...]
    faults: tuple[TaskFault, ...]
    findings: tuple[Finding, ...]


def prove_regions(
    target: Target, paging: PagingFacts, asked: VerifyAsked, progress: Callable[[str], None]
) -> Proved:
    """Judge every page of every VMA that maps one of the regions.

    Raises:
        PageproofError: the given kernel side is wrong for all of them.
    """
    finders = _finders(asked)

    live = target.facts.live
    of_device = maps_device(target, paging, asked.device) if asked.device else None
    # A task that could not be read was exiting, and is gone soon; a VMA may never be readable.
    same: Callable[[Found], bool] = nothing_new(lambda seen: seen.unclaimed)
    found, _ = look_until(
        lambda seen: same(seen) and not seen.faults,
        lambda: search_shared(target, paging, finders, asked.pid, of_device),
        live=live,
    )
    if asked.kernel.said and found.unclaimed and not found.claimed:
        raise PageproofError(found.unclaimed[0].message)
    regions = by_region(found.claimed)
    walker = walker_of(target, paging, asked.walker)
    claimed = [one for region in regions for one in region]
    observer = UseObserver(target, paging, walker, asked, claimed)
    uses: list[Use] = []
    for number, region in enumerate(regions):
        progress(f"region {number + 1} of {len(regions)}")
        uses += observer.look(region, len(uses), number, EVIDENCE_PAGES)
    if uses and all(use.misaligned for use in uses):
        raise PageproofError(uses[0].unread)
    unclaimed = found.unclaimed
    mappings = tuple(one.mapping for one in claimed)
    judged: _Judged | None = None
    # A process that ends while its mappings are judged frees what rules look at. So they are looked
    # for again after that.
    for _ in range(ATTEMPTS):
        if live and (found.claimed or found.unclaimed):
            after = search_claims(target, paging, finders, asked.pid, of_device)
            there = without_vanished(uses, after.claims)
            if judged is not None and _vanished(there) == _vanished(uses):
                break
            uses = observer.without_truncated(there)
            unclaimed = tuple(one for one in unclaimed if one in after.unclaimed)
        proved, proofs = _proofs(target, mappings, uses)
        found_in = _Findings(target, paging, walker, asked, observer, proved)
        judged = _Judged(proved, proofs, tuple(found_in.of_uses()))
        if all(one.severity is Severity.NOTE for one in judged.findings):
            break
    assert judged is not None
    unread_tasks = bool(found.faults)
    return Proved(
        regions=tuple(_proved(region) for region in _by_region(judged.uses)),
        mappings=mappings,
        proofs=judged.proofs,
        faults=found.faults,
        findings=(
            *(judge.unread(one.kind, one.vma, one.message) for one in unclaimed),
            *judge.unknown_parts((one.kind, one.what, one.mapping) for one in found.unknown),
            *(judged.findings if judged.uses else (_nothing(asked, unread_tasks=unread_tasks),)),
        ),
    )


@dataclass(frozen=True)
class _Judged:
    uses: Sequence[Use]
    proofs: tuple[PageProof, ...]
    findings: tuple[Finding, ...]


def _vanished(uses: Sequence[Use]) -> list[bool]:
    return [use.vanished for use in uses]


def _by_region(uses: Sequence[Use]) -> list[list[Use]]:
    return [list(region) for _, region in groupby(uses, key=lambda use: use.region)]


def _proofs(
    target: Target, mappings: Sequence[MappingFacts], uses: Sequence[Use]
) -> tuple[list[Use], tuple[PageProof, ...]]:
    """Judge the evidence of each use.

    Returns:
        The uses, with the verdicts of the evidence, which was looked at longer; and the proofs.
    """
    judged: list[Use] = []
    proofs: list[PageProof] = []
    for use in uses:
        if not use.evidence:
            judged.append(use)
            continue
        one, pages = use.claimed, dict[int, Judgement]()
        runs = use.runs if use.whole is None else ()
        for evidence in use.evidence:
            assert evidence.page_index is not None
            page = evidence.page_index - one.claim.first_page
            before = verdict_at(runs, page)
            proof = judge.prove_again(evidence, before, target.facts, mappings, one.finder.kind)
            pages[page] = proof.verdict, proof.reason
            proofs.append(proof)
        judged.append(replace(use, runs=with_verdicts(runs, pages)) if runs and pages else use)
    return judged, tuple(proofs)


_use: Final = quick(ProvedUse)
_view: Final = quick(judge.MappingView)


def _proved(uses: Sequence[Use]) -> ProvedRegion:
    """Return what is reported of one region."""
    first = uses[0].claimed
    claim = first.claim
    return ProvedRegion(
        kind=first.finder.kind,
        part=claim.part,
        name=claim.name,
        owner=claim.owner,
        owner_type=claim.owner_type,
        pages=max(use.claimed.claim.pages for use in uses),
        uses=tuple(_use(use.number, use.claimed.claim.first_page, _runs(use)) for use in uses),
    )


def _runs(use: Use) -> tuple[PageRun, ...]:
    vma = use.claimed.mapping.vma
    assert vma is not None
    if use.whole is not None:
        return (PageRun(0, vma.pages, *use.whole),)
    return use.runs


def _nothing(asked: VerifyAsked, *, unread_tasks: bool) -> Finding:
    what = asked.device or f"a region of {', '.join(asked.kinds) or 'any kind'}"
    if asked.pid is not None:
        who = f"process {asked.pid} does not map"
    else:
        who = "no process that can be read maps" if unread_tasks else "no process maps"
    return judge.NOTHING_TO_VERIFY.finding(NOWHERE, who=who, what=what)


class _Findings:
    """What is reported of uses beside the verdicts of their pages."""

    def __init__(
        self,
        target: Target,
        paging: PagingFacts,
        walker: Walker,
        asked: VerifyAsked,
        observer: UseObserver,
        uses: Sequence[Use],
    ) -> None:
        self._target, self._paging, self._walker = target, paging, walker
        self._asked, self._observer, self._uses = asked, observer, uses

    def of_uses(self) -> Iterator[Finding]:
        """Yield the findings of all uses, and of each region."""
        for use in self._uses:
            if use.unread:
                vma = use.claimed.mapping.vma
                yield judge.unread(use.claimed.finder.kind, vma.vma if vma else 0, use.unread)
        if self._asked.device:
            yield from (judge.mapping_kind(use.claimed.mapping) for use in self._uses)
            if not self._asked.kernel.said:
                yield from self._kernel_aliases()
        for use in self._uses:
            if use.user and use.whole is None:
                yield from self._wrong_frames(use)
        yield from self._of_mappings()
        for region in _by_region(self._uses):
            yield from self._of_region(region)

    def _of_region(self, uses: Sequence[Use]) -> Iterator[Finding]:
        first = uses[0].claimed
        side = self._observer.resolved(first)
        if side.by_value:
            yield judge.kernel_side_by_value(judge.place_of(first.mapping), side.by_value)
        beyond: dict[int, int] = {}
        for use in uses:
            pid = use.claimed.mapping.pid
            beyond[pid] = beyond.get(pid, 0) + use.beyond
        yield from judge.beyond_findings(first.claim.name, first.claim.pages, beyond, side.ends)

    def _kernel_aliases(self) -> Iterator[Finding]:
        """Show where the kernel maps the frames of what no finder recognises."""
        spots = []
        for use in self._uses:
            mapping = use.claimed.mapping
            if mapping.vma is not None and use.claimed.finder.kind == DEVICE:
                spots.append(Spot(mapping, mapping.vma.start, mapping.vma.pages))
        seen = kernel_aliases(self._target, self._paging, self._walker, spots)
        return judge.kernel_side_unknown(seen)

    def _wrong_frames(self, use: Use) -> Iterator[Finding]:
        """Report in which way the frames of a mapping are not the region's."""
        one = use.claimed
        different: list[Differing] = []
        for page, paddr in use.different():
            closer = len(different) < EVIDENCE_PAGES
            seen = self._differing(one, page, paddr // PAGE_BYTES, closer=closer)
            different += [seen] if seen else []
        try:
            frames = self._observer.prover.frames(one)
        except (ValueError, TooMuchWork):
            frames = {}
        same = sum(run.pages for run in use.runs if run.verdict is Verdict.SAME)
        view = judge.FramesView(one.claim.name, one.mapping, tuple(different), same, frames)
        yield from judge.frame_findings(view)

    def _differing(self, one: Claimed, page: int, pfn: int, *, closer: bool) -> Differing | None:
        """Return what a page has in place of the region's frame; None if that keeps changing.

        A private copy may be compacted: then its old frame belongs to somebody else.
        """
        vma = one.mapping.vma
        assert vma is not None
        live = self._target.facts.live

        def look() -> Differing | None:
            nonlocal pfn
            facts = struct_page_facts(self._target.prog, pfn) if closer else None
            anonymous = facts is not None and facts.is_anonymous
            zeros = self._observer.pages.is_zeros(pfn)
            now = self._walker.walk(one.mapping.root, vma.start + page * PAGE_BYTES).pfn
            if not live or now == pfn:
                return Differing(one.claim.first_page + page, pfn, anonymous, zeros)
            pfn = pfn if now is None else now
            return None

        seen, _ = look_until(lambda seen: seen is not None, look, live=live)
        return seen

    def _of_mappings(self) -> Iterator[Finding]:
        spaces: dict[int, set[int]] = {}
        for use in self._uses:
            mapping = use.claimed.mapping
            if mapping.vma and mapping.vma.file:
                spaces.setdefault(mapping.vma.file.file, set()).add(mapping.mm)
        sound: set[Hashable] = set()
        for use in self._uses:
            if use.vanished:
                continue
            mapping = use.claimed.mapping
            file = mapping.vma.file if mapping.vma else None
            view = _view(
                mapping,
                self._asked.expected,
                handed_on=file is not None and len(spaces[file.file]) > 1,
                # Reading the cache's free lists is slow, so only for a named device.
                data_is_freed=bool(self._asked.device and file and self._is_freed(file)),
                lacking=use.lacking,
            )
            if (alike := view.alike) in sound:
                continue
            found = judge.mapping_findings(view)
            yield from found
            if not found:
                sound.add(alike)

    def _is_freed(self, file: FileFacts) -> bool:
        slab = slab_at(self._target.prog, file.private_data)
        return slab is not None and slab.state is SlabState.FREE
