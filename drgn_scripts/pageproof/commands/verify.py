# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify``: find the region and its mappings, walk both sides of every page, judge."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from pageproof import __version__, judge
from pageproof.commands.observe import Observer, Pair, without_vanished
from pageproof.commands.tables import walker_of
from pageproof.commands.verify_regions import Proved, Wanted, prove_regions
from pageproof.errors import PageproofError
from pageproof.find.expression import find_address, kernel_address
from pageproof.find.mappings import address_space, find_mappings, mapping_at
from pageproof.find.page import PAGE_BYTES
from pageproof.find.paging import read_paging
from pageproof.find.region import MODULE, find_region
from pageproof.model import SCHEMA, PageEvidence, PagingFacts, RegionFacts, Report, Times
from pageproof.target import Target
from pageproof.walk import WalkerChoice


@dataclass(frozen=True)
class Asked:
    """What is to be verified: by default all regions in all processes.

    Attributes:
        kinds: regions of these kinds only.
        pid: only this process.
        user: an address in it, instead of what its VMAs say; hex.
        length_bytes: how much from there on; whole pages are compared.
        kernel: the address it is compared with; hex, symbol or variable. By
            default the page of the module's region that belongs there, seen from
            the process's other mappings of it, or else its first.
        walker: which one walks the tables; their answers are the same.
        every_page: give the evidence of all pages of large regions too.
    """

    kinds: tuple[str, ...] = ()
    pid: int | None = None
    user: str | None = None
    length_bytes: int = 1
    kernel: str | None = None
    walker: WalkerChoice = WalkerChoice.AUTO
    every_page: bool = False


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
    start = time.monotonic()
    paging = read_paging(target.prog)
    progress("searching the processes")
    look = _explicit if asked.user else _shared
    seen = look(target, paging, asked, progress)
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
            strict=bool(asked.kinds or asked.user),
        ),
    )


def _shared(
    target: Target, paging: PagingFacts, asked: Asked, progress: Callable[[str], None]
) -> _Seen:
    if asked.pid is not None:
        address_space(target.prog, paging, asked.pid)  # says if there is none
    if asked.kinds == (MODULE,):
        find_region(target.prog)  # says why there is none
    wanted = Wanted(asked.kinds, asked.pid, asked.walker, asked.every_page)
    proved = prove_regions(target, paging, wanted, progress)
    ours = [one for one in proved.regions if one.kind == MODULE]
    if not ours:
        return _Seen(None, proved)
    region = find_region(target.prog).facts
    mappings = [proved.mappings[use.mapping] for one in ours for use in one.uses]
    findings = proved.findings + judge.coverage_findings(region, mappings)
    return _Seen(region, replace(proved, findings=findings), judge.unmapped_pages(region, mappings))


def _explicit(
    target: Target, paging: PagingFacts, asked: Asked, progress: Callable[[str], None]
) -> _Seen:
    assert asked.user is not None
    if asked.pid is None:
        raise PageproofError("--user is an address in a process", "", "say which with --pid")
    user = find_address(target.prog, asked.user)
    offset = user % PAGE_BYTES
    mapping = mapping_at(target.prog, paging, asked.pid, user)
    region: RegionFacts | None = None
    index: int | None = None
    if asked.kernel is not None:
        vma = None if mapping.vma is None else mapping.vma.vma
        kernel = kernel_address(target.prog, asked.kernel, vma)
        if kernel % PAGE_BYTES != offset:
            raise PageproofError(
                f"--user {user:#x} and --kernel {kernel:#x} can't be the same memory: they are at "
                "different places in their pages",
                "",
                "give addresses of the same byte, or of two pages",
            )
        with suppress(PageproofError):  # two addresses can be compared without the module too
            region = find_region(target.prog).facts
            inside = (kernel - region.kernel_address) // PAGE_BYTES
            index = inside if 0 <= inside < region.pages else None
    else:
        found = find_region(target.prog)
        region = found.facts
        around = find_mappings(target.prog, paging, found.fops, asked.pid).found
        index = judge.page_at(region, around, user) or 0
        kernel = region.kernel_address + index * PAGE_BYTES
    user, kernel = user & -PAGE_BYTES, kernel & -PAGE_BYTES
    pages = -(-(offset + asked.length_bytes) // PAGE_BYTES)
    pairs = tuple(
        Pair(
            0,
            None if index is None else index + page,
            kernel + page * PAGE_BYTES,
            user + page * PAGE_BYTES,
        )
        for page in range(pages)
    )
    observer = Observer(target, paging, (mapping,), walker_of(target, paging, asked.walker))
    seen: list[PageEvidence] = []
    for number, pair in enumerate(pairs):
        if number % 64 == 0:
            progress(f"page {number + 1} of {pages}")
        seen.append(observer.observe(pair))
    if target.facts.live:
        after = []
        with suppress(PageproofError):  # the process has ended meanwhile
            after.append(mapping_at(target.prog, paging, asked.pid, user))
        seen = without_vanished(seen, (mapping,), after)
    proofs = tuple(judge.prove(one, target.facts, (mapping,)) for one in seen)
    return _Seen(region, Proved((), (mapping,), proofs, (), ()))
