# SPDX-License-Identifier: GPL-2.0-or-later
"""The uses of shared regions: each VMA that maps one, and what was seen of its pages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import drgn

from pageproof.attach import Target
from pageproof.errors import PageproofError
from pageproof.find.process.mappings import MappingKey, key_of
from pageproof.find.shared import Claim, Claimed, claim_again
from pageproof.find.shared.device import DEVICE, Resolved, misaligned, resolve_claim
from pageproof.find.umh_shm.region import MODULE
from pageproof.model import PageEvidence, PageRun, PagingFacts, Reason, Verdict
from pageproof.model.asked import VerifyAsked
from pageproof.model.quick import quick
from pageproof.observe.attempts import ATTEMPTS, PAUSE_SECONDS
from pageproof.observe.page import Observer, Pair
from pageproof.observe.region import Judged, Prover
from pageproof.observe.verdicts import NOT_PRESENT, Judgement, verdict_at
from pageproof.space.units import PAGE_BYTES
from pageproof.walk import Side, TooMuchWork, Walker

#: Pages of a region that get evidence of their own; the same number again if they are not SAME.
EVIDENCE_PAGES: Final = 64


@dataclass(frozen=True, slots=True)
class Use:
    """One VMA that maps a region.

    Attributes:
        number: index of its mapping in the report.
        claimed: the VMA, and the region as the finder knows it.
        region: index of its region in the report.
        runs: verdicts of all pages of the VMA.
        whole: one verdict for all pages instead; None if each has its own.
        user: the user's side at the last look, if some page is DIFFERENT.
        beyond: pages with a frame after the region's end.
        unread: why the region could not be read; "" if it was.
        misaligned: the user gave an address that cannot be this region's.
        vanished: the mapping has gone or changed meanwhile.
        evidence: of some pages.
    """

    number: int
    claimed: Claimed
    region: int
    runs: tuple[PageRun, ...] = ()
    whole: Judgement | None = None
    user: tuple[Side, ...] = ()
    beyond: int = 0
    unread: str = ""
    misaligned: bool = False
    vanished: bool = False
    evidence: tuple[PageEvidence, ...] = ()

    @property
    def lacking(self) -> tuple[range, ...]:
        """Pages of the region that are not present and that no fault handler will map."""
        vma, claim = self.claimed.mapping.vma, self.claimed.claim
        if vma is None or vma.has_fault or self.whole is not None:
            return ()
        first = claim.first_page
        absent = (
            range(first + run.first_page, min(first + run.first_page + run.pages, claim.pages))
            for run in self.runs
            if (run.verdict, run.reason) == NOT_PRESENT
        )
        return tuple(pages for pages in absent if pages)

    def different(self) -> Iterator[tuple[int, int]]:
        """Yield each DIFFERENT page of the VMA, and the physical address of its frame."""
        first = self.claimed.claim.first_page
        for side in self.user:
            for at in range(side.pages if side.paddr is not None else 0):
                page = side.first - first + at
                if verdict_at(self.runs, page) is Verdict.DIFFERENT:
                    yield page, (side.paddr or 0) + at * PAGE_BYTES


_use: Final = quick(Use)


class UseObserver:
    """Looks at uses of regions of one target."""

    def __init__(
        self,
        target: Target,
        paging: PagingFacts,
        walker: Walker,
        asked: VerifyAsked,
        uses: Sequence[Claimed],
    ) -> None:
        self._target, self._asked = target, asked
        self.prover = Prover(target, paging.kernel_root, walker)
        mappings = tuple(one.mapping for one in uses)
        self.pages = Observer(target, paging, mappings, walker)

    def look(self, uses: Sequence[Claimed], first: int, region: int, room: int) -> list[Use]:
        """Compare all pages of all uses of a region, and collect evidence of some.

        Args:
            uses: all of the region.
            first: index of the first one's mapping in the report.
            region: index of the region in the report.
            room: evidence is collected of that many pages whatever their verdict.
        """
        seen = []
        for number, (one, judged) in enumerate(
            zip(uses, self.prover.judge(uses), strict=True), first
        ):
            use = self._seen(number, one, region, judged, room)
            room = max(0, room - len(use.evidence))
            seen.append(use)
        return seen

    def _seen(self, number: int, one: Claimed, region: int, judged: Judged | str, room: int) -> Use:
        if isinstance(judged, str):
            return _unread(Use(number, one, region), judged)
        if one.finder.kind == DEVICE:
            side = self.resolved(one)
            if side.offset_bytes and all(run.verdict is not Verdict.SAME for run in judged.runs):
                # Only a driver that maps what begins in the middle of a page may be given as such.
                use = _unread(Use(number, one, region), misaligned(self._asked.kernel, side))
                return replace(use, misaligned=True)
        evidence: tuple[PageEvidence, ...] = ()
        if room or self._asked.every_page or not judged.sound:
            pairs = self._pairs(number, one, region, judged, room)
            evidence = tuple(self.pages.observe(pair) for pair in pairs)
        return _use(
            number,
            one,
            region,
            judged.runs,
            user=judged.user,
            beyond=judged.beyond,
            evidence=evidence,
        )

    def _pairs(
        self, number: int, one: Claimed, region: int, judged: Judged, room: int
    ) -> Iterator[Pair]:
        """Yield the pages that get evidence: the first ones, and those with a bad verdict."""
        vma = one.mapping.vma
        assert vma is not None
        bad = (
            page
            for run in judged.runs
            if run.verdict is not Verdict.SAME and run.reason is not Reason.NOT_PRESENT
            for page in range(run.first_page, run.first_page + run.pages)
        )
        first = range(vma.pages if self._asked.every_page else min(vma.pages, room))
        for page in sorted({*first, *islice(bad, EVIDENCE_PAGES)}):
            index = one.claim.first_page + page
            kernel = judged.addresses[index] if index < len(judged.addresses) else None
            if kernel is not None:
                user = vma.start + page * PAGE_BYTES
                slot = one.finder.kind == MODULE
                yield Pair(number, index, kernel, user, region, slot)

    def resolved(self, one: Claimed) -> Resolved:
        """Return the kernel side that the user gave for a device, for all that is mapped of it."""
        vma = one.mapping.vma
        if one.finder.kind != DEVICE or vma is None:
            return Resolved(())
        pages = max(one.claim.pages, one.claim.first_page + vma.pages)
        claim = replace(one.claim, pages=pages)
        try:
            return resolve_claim(self._target.prog, self._asked.kernel, claim)
        except (PageproofError, ValueError, drgn.FaultError):
            return Resolved(())  # it has gone since

    def without_truncated(self, uses: Sequence[Use]) -> list[Use]:
        """Count frames after a region's end only if they stay there.

        A file is shorter before its pages are unmapped (mm/truncate.c, truncate_pagecache()), and
        the next one at the same place may be longer.
        """
        uses = list(uses)
        for _ in range(ATTEMPTS):
            if not any(use.beyond for use in uses):
                break
            time.sleep(PAUSE_SECONDS)
            uses = [
                replace(use, beyond=min(use.beyond, self._still_beyond(use.claimed)))
                if use.beyond
                else use
                for use in uses
            ]
        return uses

    def _still_beyond(self, one: Claimed) -> int:
        prog = self._target.prog
        if claim_again(prog, one) != one.claim:
            return 0
        try:
            beyond = self.prover.beyond(one)
        except (ValueError, TooMuchWork):
            return 0
        return beyond if claim_again(prog, one) == one.claim else 0


def _unread(use: Use, why: str) -> Use:
    return replace(use, whole=(Verdict.UNKNOWN, Reason.UNREADABLE), unread=why)


def without_vanished(uses: Sequence[Use], after: Mapping[MappingKey, Claim]) -> list[Use]:
    """Drop what was seen through mappings that have gone, or of regions that have changed.

    Args:
        uses: as they were seen.
        after: the claims that were found after that.
    """
    return [
        use if after.get(key_of(use.claimed.mapping)) == use.claimed.claim else _vanished(use)
        for use in uses
    ]


def _vanished(use: Use) -> Use:
    return replace(
        use,
        whole=(Verdict.UNKNOWN, Reason.TORN),
        beyond=0,
        unread="",
        vanished=True,
        evidence=tuple(replace(one, stable=False) for one in use.evidence),
    )
