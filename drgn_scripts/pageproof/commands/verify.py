# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify``: find the region and its mappings, walk both sides of every page, judge."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pageproof import __version__, judge
from pageproof.attach import Target
from pageproof.commands.verify_addresses import Place, prove_addresses
from pageproof.commands.verify_regions import Proved, Wanted, prove_regions
from pageproof.errors import PageproofError
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.mappings import check_process
from pageproof.find.shared.device import UNSAID, KernelSide
from pageproof.find.umh_shm.region import MODULE, find_region
from pageproof.model import SCHEMA, Expectation, PagingFacts, RegionFacts, Report, Times
from pageproof.observe.attempts import look_again
from pageproof.walk import WalkerChoice


@dataclass(frozen=True)
class Asked:
    """What is to be verified: by default all regions in all processes.

    Attributes:
        kinds: regions of these kinds only.
        pid: only this process.
        device: only VMAs of this device, by path or MAJOR:MINOR.
        user: an address in the process, instead of what its VMAs say; hex.
        kernel: what they are compared with, of so many bytes. By default what finders know of
            the VMAs; of an address also the page of the module's region that belongs there, seen
            from the process's other mappings of it. Where nobody knows, the kernel's mappings
            of the frames are shown instead.
        walker: which one walks the tables; their answers are the same.
        every_page: give the evidence of all pages of large regions too.
        expected: what the author of the device's driver intends.
    """

    kinds: tuple[str, ...] = ()
    pid: int | None = None
    device: str | None = None
    user: str | None = None
    kernel: KernelSide = UNSAID
    walker: WalkerChoice = WalkerChoice.AUTO
    every_page: bool = False
    expected: frozenset[Expectation] = frozenset()

    @property
    def strict(self) -> bool:
        """Whether a page that was never touched is undecided: the user asked for its region."""
        return bool(self.kinds or self.device or self.user)


@dataclass(frozen=True)
class _Seen:
    """What was looked at, and what it showed."""

    region: RegionFacts | None
    proved: Proved
    unmapped_pages: tuple[int, ...] = ()


def verify(target: Target, asked: Asked, progress: Callable[[str], None]) -> Report:
    """Prove or refute, page by page, that kernel and user see the same frames.

    Raises:
        PageproofError: there is nothing that could be looked at.
    """
    asked.kernel.check()
    start = time.monotonic()
    paging = read_paging(target.prog)
    progress("searching the processes")
    seen = _look(target, paging, asked, progress)
    proved = seen.proved
    findings = proved.findings + judge.task_findings(proved.faults)
    return Report(
        schema=SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        region=seen.region,
        regions=proved.regions,
        mappings=proved.mappings,
        proofs=proved.proofs,
        unmapped_pages=seen.unmapped_pages,
        task_faults=proved.faults,
        findings=findings,
        times=Times(
            attach_seconds=round(target.attach_seconds, 3),
            debug_info_seconds=round(target.debug_info_seconds, 3),
            verify_seconds=round(time.monotonic() - start, 3),
        ),
        summary=judge.summarize(
            proved.proofs,
            findings,
            proved.faults,
            proved.regions,
            strict=asked.strict,
        ),
    )


def _look(
    target: Target, paging: PagingFacts, asked: Asked, progress: Callable[[str], None]
) -> _Seen:
    if asked.user is not None:
        if asked.pid is None:
            raise PageproofError("--user is an address in a process", "", "say which with --pid")
        place = Place(asked.pid, asked.user, asked.kernel, asked.walker)
        return _Seen(*prove_addresses(target, paging, place, progress))
    if asked.pid is not None:
        pid = asked.pid
        look_again(lambda: check_process(target.prog, pid), live=target.facts.live)
    if asked.kinds == (MODULE,):
        find_region(target.prog)  # says why there is none
    wanted = Wanted(
        asked.kinds,
        asked.pid,
        asked.walker,
        asked.every_page,
        asked.device,
        asked.kernel,
        asked.expected,
    )
    proved = prove_regions(target, paging, wanted, progress)
    ours = [one for one in proved.regions if one.kind == MODULE]
    if not ours:
        return _Seen(None, proved)
    region = find_region(target.prog).facts
    mappings = [proved.mappings[use.mapping] for one in ours for use in one.uses]
    findings = proved.findings + judge.coverage_findings(region, mappings)
    return _Seen(region, replace(proved, findings=findings), judge.unmapped_pages(region, mappings))
