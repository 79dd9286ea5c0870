# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify``: find the region and its mappings, walk both sides of every page, judge."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pageproof import __version__, judge
from pageproof.commands.attempts import look_until
from pageproof.commands.observe import Observer, Pair, without_vanished
from pageproof.errors import PageproofError
from pageproof.find.expression import find_address, kernel_address
from pageproof.find.mappings import Mappings, address_space, find_mappings, mapping_at
from pageproof.find.page import PAGE_BYTES
from pageproof.find.paging import read_paging
from pageproof.find.region import FoundRegion, find_region
from pageproof.model import (
    SCHEMA,
    Finding,
    MappingFacts,
    PageEvidence,
    PagingFacts,
    RegionFacts,
    Report,
    Severity,
    Times,
)
from pageproof.target import Target
from pageproof.walk import WalkerChoice


@dataclass(frozen=True)
class Asked:
    """What is to be verified: by default the whole region in all processes.

    Attributes:
        pid: only this process.
        user: an address in it, instead of what its VMAs say; hex.
        length_bytes: how much from there on; whole pages are compared.
        kernel: the address it is compared with; hex, symbol or variable. By
            default the region's page that belongs there, seen from the
            process's other mappings of it, or else its first.
        walker: which one walks the tables; their answers are the same.
    """

    pid: int | None = None
    user: str | None = None
    length_bytes: int = 1
    kernel: str | None = None
    walker: WalkerChoice = WalkerChoice.AUTO


@dataclass(frozen=True)
class _Looked:
    """The scope of one run, after searching and before walking. ``again`` searches once more."""

    region: RegionFacts | None
    mappings: Mappings
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]
    again: Callable[[], tuple[MappingFacts, ...]]


def verify(target: Target, asked: Asked, progress: Callable[[str], None]) -> Report:
    """Prove or refute, page by page, that kernel and user see the same frames.

    Raises:
        PageproofError: there is nothing that could be looked at.
    """
    start = time.monotonic()
    paging = read_paging(target.prog)
    progress("searching the processes")
    looked = _explicit(target, paging, asked) if asked.user else _region(target, paging, asked)
    observer = Observer(target, paging, looked.mappings.found, asked.walker)
    seen: list[PageEvidence] = []
    for number, pair in enumerate(looked.pairs):
        if number % 64 == 0:
            progress(f"page {number + 1} of {len(looked.pairs)}")
        seen.append(observer.observe(pair))
    if target.facts.live and seen:
        seen = without_vanished(seen, looked.mappings.found, looked.again())
    proofs = [judge.prove(one, target.facts, looked.mappings.found) for one in seen]
    faults = looked.mappings.faults
    findings = looked.findings + judge.task_findings(faults)
    region = looked.region
    whole = region is not None and asked.user is None
    return Report(
        schema=SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        region=region,
        mappings=looked.mappings.found,
        proofs=tuple(proofs),
        unmapped_pages=judge.unmapped_pages(region, looked.mappings.found)
        if region is not None and whole
        else (),
        task_faults=faults,
        findings=findings,
        times=Times(
            attach_seconds=round(target.attach_seconds, 3),
            debug_info_seconds=round(target.debug_info_seconds, 3),
            verify_seconds=round(time.monotonic() - start, 3),
        ),
        summary=judge.summarize(proofs, findings, faults),
    )


def _region(target: Target, paging: PagingFacts, asked: Asked) -> _Looked:
    found = find_region(target.prog)
    mappings = _search(target, paging, found, asked.pid)
    region = found.facts
    findings = list(judge.coverage_findings(region, mappings.found))
    if not mappings.found:
        if asked.pid is not None and not mappings.faults:
            address_space(target.prog, paging, asked.pid)  # says if there is none
        who = "no process maps" if asked.pid is None else f"process {asked.pid} does not map"
        sentence = f"{who} the region now: there is nothing to verify"
        findings.append(Finding("nothing-to-verify", Severity.NOTE, region.name, sentence))
    pairs = []
    for number, mapping in enumerate(mappings.found):
        assert mapping.vma is not None  # they were found by their VMAs
        for page in judge.mapped_pages(region, mapping):
            user = mapping.vma.start + (page - mapping.vma.pgoff_pages) * PAGE_BYTES
            kernel = region.kernel_address + page * PAGE_BYTES
            pairs.append(Pair(number, page, kernel, user))
    return _Looked(
        region,
        mappings,
        tuple(pairs),
        tuple(findings),
        lambda: _search(target, paging, found, asked.pid).found,
    )


def _search(target: Target, paging: PagingFacts, region: FoundRegion, pid: int | None) -> Mappings:
    """Search; on a live target a task that was just exiting is looked for again."""
    mappings, _ = look_until(
        lambda seen: not seen.faults,
        lambda: find_mappings(target.prog, paging, region.fops, pid),
        live=target.facts.live,
    )
    return mappings


def _explicit(target: Target, paging: PagingFacts, asked: Asked) -> _Looked:
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
    pid = asked.pid

    def again() -> tuple[MappingFacts, ...]:
        try:
            return (mapping_at(target.prog, paging, pid, user),)
        except PageproofError:
            return ()  # the process has ended meanwhile

    return _Looked(region, Mappings((mapping,), ()), pairs, (), again)
