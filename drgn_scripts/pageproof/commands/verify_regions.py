# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify`` of all that finders find: every page judged, some of each region with evidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import drgn

from pageproof import judge
from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.identify.memory import slab_at
from pageproof.find.process.devices import (
    device_of,
    is_at_path,
    number_of_node,
    number_words,
    parse_number,
)
from pageproof.find.process.mappings import search
from pageproof.find.shared import Claimed, Finder, Found, all_finders, by_region, claim_again
from pageproof.find.shared.device import DEVICE, Resolved, device_finder, misaligned, resolve_claim
from pageproof.find.umh_shm.region import MODULE
from pageproof.judge import Differing
from pageproof.model import (
    FileFacts,
    Finding,
    MappingFacts,
    PageEvidence,
    PageProof,
    PageRun,
    PagingFacts,
    ProvedRegion,
    ProvedUse,
    Reason,
    SlabState,
    TaskFault,
    Verdict,
)
from pageproof.model.asked import VerifyAsked
from pageproof.observe.attempts import ATTEMPTS, PAUSE_SECONDS, look_until
from pageproof.observe.kernel_aliases import Spot, kernel_aliases
from pageproof.observe.page import Observer, Pair, place_of, without_vanished
from pageproof.observe.region import NOTHING, Glance, Judged, Judgement, Prover, runs_of
from pageproof.observe.search import search_shared
from pageproof.observe.walkers import walker_of
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import TooMuchWork

#: So many pages of a region get evidence of their own, and so many again that are not SAME.
EVIDENCE_PAGES = 64


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
    """What verify reports of them."""

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
        PageproofError: what was said of the kernel's side is wrong for all of them.
    """
    finders = _finders(asked)

    def look(only: Callable[[drgn.Object], bool] | None) -> Found:
        return search_shared(target, paging, finders, asked.pid, only)

    live = target.facts.live
    of_device = _is_of_device(target, paging, asked) if asked.device else None
    found, _ = look_until(
        lambda seen: not seen.faults + seen.unclaimed, lambda: look(of_device), live=live
    )
    if asked.kernel.said and found.unclaimed and not found.claimed:
        raise PageproofError(found.unclaimed[0].message)
    run = _Run(target, paging, asked, by_region(found.claimed))
    run.unread_tasks = bool(found.faults)
    for number in range(len(run.regions)):
        progress(f"region {number + 1} of {len(run.regions)}")
        run.judge(number)
    if run.misaligned and len(run.misaligned) == len(run.mappings):
        raise PageproofError(run.misaligned[0])
    unclaimed = found.unclaimed
    if live and (found.claimed or unclaimed):
        seen = {one.mapping.vma.vma for one in found.claimed if one.mapping.vma}
        seen |= {one.vma for one in unclaimed}
        after = look(lambda vma: vma.value_() in seen)
        run.without_vanished(after.claimed)
        run.without_truncated()
        unclaimed = tuple(one for one in unclaimed if one in after.unclaimed)
    proofs = run.proofs()
    return Proved(
        regions=tuple(run.proved()),
        mappings=run.mappings,
        proofs=proofs,
        faults=found.faults,
        findings=(
            *(judge.unread(one.kind, one.vma, one.message) for one in unclaimed),
            *judge.unknown_parts((one.kind, one.what, one.mapping) for one in found.unknown),
            *run.findings(),
        ),
    )


def _is_of_device(
    target: Target, paging: PagingFacts, asked: VerifyAsked
) -> Callable[[drgn.Object], bool]:
    """What decides whether a ``struct vm_area_struct *`` maps the device.

    By the device's number: a process in a chroot or a container has it through a node of its own.

    Raises:
        PageproofError: processes map several devices by this path, and no node says which it is.
    """
    assert asked.device is not None
    prog, path = target.prog, asked.device
    number = parse_number(path)
    if number is None:
        number = number_of_node(prog, path)
    if number is None:
        # The kernel has no such name in its cache, or the node was removed.
        mapped: set[int] = set()

        def note(vma: drgn.Object) -> bool:
            device = device_of(vma)
            if device is not None and device not in mapped and is_at_path(vma, path):
                mapped.add(device)
            return False

        search(prog, paging, note)
        if len(mapped) > 1:
            raise PageproofError(
                f"processes map several devices as {path}: "
                + ", ".join(map(number_words, sorted(mapped))),
                "",
                "say which: --device MAJOR:MINOR",
            )
        number = next(iter(mapped), None)
    return lambda vma: number is not None and device_of(vma) == number


class _Run:
    """One run over the regions that were found."""

    def __init__(
        self,
        target: Target,
        paging: PagingFacts,
        asked: VerifyAsked,
        regions: Sequence[Sequence[Claimed]],
    ) -> None:
        self._target, self._asked = target, asked
        #: Some tasks could not be read, so that what they map is not known.
        self.unread_tasks = False
        numbers = count()
        #: Each region's uses, with their numbers.
        self.regions = [[(next(numbers), one) for one in region] for region in regions]
        self._uses = [one for region in regions for one in region]
        self.mappings = tuple(one.mapping for one in self._uses)
        self._paging = paging
        self._walker = walker_of(target, paging, asked.walker)
        self._prover = Prover(target, paging.kernel_root, self._walker)
        self._observer = Observer(target, paging, self.mappings, self._walker)
        #: By use: a verdict by page of its VMA, or one for all of it.
        self._judged: dict[int, dict[int, Judgement] | Judgement] = {}
        self._glances: dict[int, Glance] = {}
        self._beyond: dict[int, int] = {}
        self._seen: list[PageEvidence] = []
        self._unread: dict[int, Finding] = {}
        self._vanished: set[int] = set()
        #: Why the address that was given for a use cannot be its region's.
        self.misaligned: list[str] = []

    def judge(self, number: int) -> None:
        """Judge one region."""
        room = EVIDENCE_PAGES
        for use, one in self.regions[number]:
            try:
                judged = self._prover.judge(one)
                self._check_alignment(one, judged)
            except (ValueError, TooMuchWork) as error:
                self._judged[use] = Verdict.UNKNOWN, Reason.UNREADABLE
                vma = one.mapping.vma
                self._unread[use] = judge.unread(one.finder.kind, vma.vma if vma else 0, str(error))
                continue
            self._judged[use] = judged.pages
            if any(verdict is Verdict.DIFFERENT for verdict, _ in judged.pages.values()):
                self._glances[use] = judged.glance
            self._beyond[use] = judged.glance.beyond(one.claim)
            pairs = list(self._pairs(number, use, one, judged, room))
            room = max(0, room - len(pairs))
            self._seen += [self._observer.observe(pair) for pair in pairs]

    def _check_alignment(self, one: Claimed, judged: Judged) -> None:
        """Only a driver that maps what does not begin where a page does may be given as such.

        Raises:
            ValueError: the process has another frame: the address is not the region's.
        """
        side = self._resolved(one)
        same = any(verdict is Verdict.SAME for verdict, _ in judged.pages.values())
        if side.offset_bytes and not same:
            self.misaligned.append(misaligned(self._asked.kernel, side))
            raise ValueError(self.misaligned[-1])

    def _pairs(
        self, number: int, use: int, one: Claimed, judged: Judged, room: int
    ) -> Iterator[Pair]:
        """The pages that get evidence: the first ones, and those with a verdict that is bad."""
        vma = one.mapping.vma
        assert vma is not None
        bad = [
            page
            for page, (verdict, reason) in judged.pages.items()
            if verdict is not Verdict.SAME and reason is not Reason.NOT_PRESENT
        ]
        first = range(vma.pages if self._asked.every_page else min(vma.pages, room))
        for page in sorted({*first, *sorted(bad)[:EVIDENCE_PAGES]}):
            index = one.claim.first_page + page
            sides = judged.glance.kernel
            kernel = sides[index] if index < len(sides) else None
            if kernel is not None:
                user = vma.start + page * PAGE_BYTES
                yield Pair(use, index, kernel, user, number, one.finder.kind == MODULE)

    def without_vanished(self, after: Sequence[Claimed]) -> None:
        """What was seen through a mapping that has gone, or of a region that grew, says nothing."""
        claims = {place_of(one.mapping): one.claim for one in after}
        there = []
        for use, one in enumerate(self._uses):
            if claims.get(place_of(one.mapping)) == one.claim:
                there.append(one.mapping)
            else:
                self._judged[use] = Verdict.UNKNOWN, Reason.TORN
                self._beyond.pop(use, None)
                self._unread.pop(use, None)
                self._vanished.add(use)
        self._seen = without_vanished(self._seen, self.mappings, there)

    def without_truncated(self) -> None:
        """Frames behind a region's end count if they stay there.

        A file is shorter before its pages are unmapped (mm/truncate.c, truncate_pagecache()), and
        the next one at the same place may be longer.
        """
        for _ in range(ATTEMPTS):
            there = [use for use, pages in self._beyond.items() if pages]
            if not there:
                return
            time.sleep(PAUSE_SECONDS)
            for use in there:
                self._beyond[use] = min(self._beyond[use], self._still_beyond(self._uses[use]))

    def _still_beyond(self, one: Claimed) -> int:
        prog = self._target.prog
        try:
            glance = self._prover.look(one) if claim_again(prog, one) == one.claim else None
        except (ValueError, TooMuchWork):
            return 0
        if glance is None or claim_again(prog, one) != one.claim:
            return 0
        return glance.beyond(one.claim)

    def proofs(self) -> tuple[PageProof, ...]:
        """Evidence judged; where it was looked at longer, its verdict is the better one."""
        proofs = []
        for one in self._seen:
            assert one.region is not None
            assert one.page_index is not None
            use, judged = self._uses[one.mapping], self._judged[one.mapping]
            pages = judged if isinstance(judged, dict) else {}
            page = one.page_index - use.claim.first_page
            before, _ = pages.get(page, (Verdict.UNKNOWN, Reason.NOT_PRESENT))
            proof = judge.prove_again(
                one, before, self._target.facts, self.mappings, use.finder.kind
            )
            pages[page] = proof.verdict, proof.reason
            proofs.append(proof)
        return tuple(proofs)

    def proved(self) -> Iterator[ProvedRegion]:
        for region in self.regions:
            _, first = region[0]
            claim = first.claim
            yield ProvedRegion(
                kind=first.finder.kind,
                part=claim.part,
                name=claim.name,
                owner=claim.owner,
                owner_type=claim.owner_type,
                pages=max(one.claim.pages for _, one in region),
                uses=tuple(
                    ProvedUse(use, one.claim.first_page, self._runs(use)) for use, one in region
                ),
            )

    def _kernel_aliases(self) -> Iterator[Finding]:
        """Of what no finder knows."""
        spots = []
        for one in self._uses:
            vma = one.mapping.vma
            if vma is not None and one.finder.kind == DEVICE:
                spots.append(Spot(one.mapping, vma.start, vma.pages))
        seen = kernel_aliases(self._target, self._paging, self._walker, spots)
        return judge.kernel_side_unknown(seen)

    def _runs(self, use: int) -> tuple[PageRun, ...]:
        vma = self.mappings[use].vma
        assert vma is not None
        judged = self._judged[use]
        if isinstance(judged, dict):
            return runs_of(vma.pages, judged)
        return (PageRun(0, vma.pages, *judged),)

    def findings(self) -> Iterator[Finding]:
        yield from self._unread.values()
        if self._asked.device:
            yield from map(judge.mapping_kind, self.mappings)
            if not self._asked.kernel.said:
                yield from self._kernel_aliases()
        for use, glance in self._glances.items():
            yield from self._wrong_frames(use, glance)
        yield from self._mapping_findings()
        for region in self.regions:
            claim = region[0][1].claim
            side = self._resolved(region[0][1])
            if side.by_value:
                where = judge.place_words(region[0][1].mapping)
                yield judge.kernel_side_by_value(where, side.by_value)
            beyond: dict[int, int] = {}
            for use, one in region:
                pid = one.mapping.pid
                beyond[pid] = beyond.get(pid, 0) + self._beyond.get(use, 0)
            yield from judge.beyond_findings(claim.name, claim.pages, beyond, side.ends)
        if not self.regions:
            yield self._nothing()

    def _resolved(self, one: Claimed) -> Resolved:
        """The kernel's side of a device's region, as it was given for all that is mapped of it."""
        vma, kernel = one.mapping.vma, self._asked.kernel
        nothing = Resolved(())
        if one.finder.kind != DEVICE or vma is None:
            return nothing
        pages = max(one.claim.pages, one.claim.first_page + vma.pages)
        try:
            return resolve_claim(self._target.prog, kernel, replace(one.claim, pages=pages))
        except (PageproofError, ValueError, drgn.FaultError):
            return nothing  # it has gone since

    def _wrong_frames(self, use: int, glance: Glance) -> Iterator[Finding]:
        """In which way the frames of a mapping are not the region's."""
        one, judged = self._uses[use], self._judged[use]
        if not isinstance(judged, dict):
            return
        different: list[Differing] = []
        for page, (verdict, _) in sorted(judged.items()):
            (_, paddr), _ = glance.sides.get(page, (NOTHING, NOTHING))
            if verdict is Verdict.DIFFERENT and paddr is not None:
                closer = len(different) < EVIDENCE_PAGES
                seen = self._differing(one, page, paddr // PAGE_BYTES, closer=closer)
                different += [seen] if seen else []
        try:
            frames = self._prover.frames(one)
        except (ValueError, TooMuchWork):
            frames = {}
        same = sum(verdict is Verdict.SAME for verdict, _ in judged.values())
        view = judge.FramesView(one.claim.name, one.mapping, tuple(different), same, frames)
        yield from judge.frame_findings(view)

    def _differing(self, one: Claimed, page: int, pfn: int, *, closer: bool) -> Differing | None:
        """What a page has in the place of the region's; None if that does not hold still.

        A private copy may be compacted: its frame would be somebody else's by now.
        """
        vma = one.mapping.vma
        assert vma is not None
        live = self._target.facts.live

        def look() -> Differing | None:
            nonlocal pfn
            facts = struct_page_facts(self._target.prog, pfn) if closer else None
            anonymous = facts is not None and facts.is_anonymous
            zeros = self._observer.is_zeros(pfn)
            now = self._walker.walk(one.mapping.root, vma.start + page * PAGE_BYTES).pfn
            if not live or now == pfn:
                return Differing(one.claim.first_page + page, pfn, anonymous, zeros)
            pfn = pfn if now is None else now
            return None

        seen, _ = look_until(lambda seen: seen is not None, look, live=live)
        return seen

    def _mapping_findings(self) -> Iterator[Finding]:
        spaces: dict[int, set[int]] = {}
        for mapping in self.mappings:
            if mapping.vma and mapping.vma.file:
                spaces.setdefault(mapping.vma.file.file, set()).add(mapping.mm)
        for use, mapping in enumerate(self.mappings):
            if use in self._vanished:
                continue
            file = mapping.vma.file if mapping.vma else None
            yield from judge.mapping_findings(
                judge.MappingView(
                    mapping,
                    self._asked.expected,
                    handed_on=file is not None and len(spaces[file.file]) > 1,
                    # To look at the cache's free lists takes a while: for who tests a driver.
                    data_is_freed=bool(self._asked.device and file and self._is_freed(file)),
                    lacking=self._lacking(use),
                )
            )

    def _lacking(self, use: int) -> tuple[int, ...]:
        """Pages of the region that are not there and never will be."""
        one, judged = self._uses[use], self._judged[use]
        vma = one.mapping.vma
        if vma is None or vma.has_fault or not isinstance(judged, dict):
            return ()
        first, nothing = one.claim.first_page, (Verdict.UNKNOWN, Reason.NOT_PRESENT)
        pages = min(vma.pages, one.claim.pages - first)
        return tuple(first + page for page in range(pages) if judged.get(page, nothing) == nothing)

    def _is_freed(self, file: FileFacts) -> bool:
        slab = slab_at(self._target.prog, file.private_data)
        return slab is not None and slab.state is SlabState.FREE

    def _nothing(self) -> Finding:
        asked = self._asked
        what = asked.device or f"a region of {', '.join(asked.kinds) or 'any kind'}"
        if asked.pid is not None:
            who = f"process {asked.pid} does not map"
        else:
            who = "no process that can be read maps" if self.unread_tasks else "no process maps"
        return judge.NOTHING_TO_VERIFY.finding("", who=who, what=what)
