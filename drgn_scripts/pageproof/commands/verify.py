# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify``: find the region and its mappings, walk both sides of every page, judge."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pageproof import __version__, judge
from pageproof.attach import Target
from pageproof.commands.verify_addresses import prove_addresses
from pageproof.commands.verify_regions import Proved, prove_regions
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.mappings import check_process
from pageproof.find.shared.device import check_kernel_side
from pageproof.find.umh_shm.region import MODULE, find_region
from pageproof.model import SCHEMA, PagingFacts, RegionFacts, Report, Times
from pageproof.model.asked import VerifyAsked
from pageproof.observe.attempts import look_again


@dataclass(frozen=True)
class _Seen:
    """The result of one look."""

    region: RegionFacts | None
    proved: Proved
    unmapped_pages: tuple[int, ...] = ()


def verify(target: Target, asked: VerifyAsked, progress: Callable[[str], None]) -> Report:
    """Prove or refute, page by page, that kernel and user see the same frames.

    Raises:
        PageproofError: there is nothing to look at.
    """
    check_kernel_side(asked.kernel)
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
    target: Target, paging: PagingFacts, asked: VerifyAsked, progress: Callable[[str], None]
) -> _Seen:
    if asked.user is not None:
        return _Seen(*prove_addresses(target, paging, asked, progress))
    if asked.pid is not None:
        pid = asked.pid
        look_again(lambda: check_process(target.prog, pid), live=target.facts.live)
    if asked.kinds == (MODULE,):
        find_region(target.prog)  # says why there is none
    proved = prove_regions(target, paging, asked, progress)
    ours = [one for one in proved.regions if one.kind == MODULE]
    if not ours:
        return _Seen(None, proved)
    region = find_region(target.prog).facts
    mappings = [proved.mappings[use.mapping] for one in ours for use in one.uses]
    findings = proved.findings + judge.coverage_findings(region, mappings)
    return _Seen(region, replace(proved, findings=findings), judge.unmapped_pages(region, mappings))
