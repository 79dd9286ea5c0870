# SPDX-License-Identifier: GPL-2.0-or-later
"""``alias``: find every mapping of a frame, in the kernel's half and in all processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pageproof import __version__, arch
from pageproof.attach import Target
from pageproof.commands.walk import check_address, tables_of
from pageproof.errors import Exit, PageproofError
from pageproof.find.frame.mapcount import page_mapcount
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.kernel.expression import find_address, parse_hex
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.mappings import process_at
from pageproof.judge.alias import alias_findings, doubt_findings
from pageproof.judge.conditions import exit_of
from pageproof.model import PagingFacts, StructPageFacts, Walk
from pageproof.model.alias import ALIAS_SCHEMA, AliasReport
from pageproof.model.asked import AliasAsked
from pageproof.observe.attempts import look_again, look_until
from pageproof.observe.owners import Owners
from pageproof.observe.sweep import Sweep
from pageproof.observe.walkers import paging_form, walker_of
from pageproof.space.units import PAGE_SHIFT
from pageproof.walk import Walker


def alias(target: Target, asked: AliasAsked, progress: Callable[[str], None]) -> AliasReport:
    """Find every mapping of a frame.

    All page tables are swept. On a live target each mapping is walked once
    more afterwards; if one has gone, the whole look is repeated.

    Args:
        target: an attached target.
        asked: an address, or a frame's number if no process is given.
        progress: called with a message at each step.

    Raises:
        PageproofError: there is no such address or process, or the address has no frame.
    """
    paging = read_paging(target.prog)
    walker = walker_of(target, paging, progress=progress)
    walk, pfn = _frame(target, paging, walker, asked)
    progress("sweeping all page tables")
    report, attempts = look_until(
        lambda seen: seen.stable,
        lambda: _look(target, paging, walker, asked, walk, pfn),
        live=target.facts.live,
    )
    return replace(report, attempts=attempts)


def _look(
    target: Target,
    paging: PagingFacts,
    walker: Walker,
    asked: AliasAsked,
    walk: Walk | None,
    pfn: int,
) -> AliasReport:
    before = _counts(target, pfn)[1]
    sweep = Sweep(target, paging, walker, [pfn])
    aliases, stable = sweep.aliases(pfn)
    page, mapcount = _counts(target, pfn)
    settled = not target.facts.live or (stable and before == mapcount)
    sure = settled and not sweep.doubts
    # Changes during the look are not the kernel's fault, so they are not judged.
    area = Owners(target, paging, walker).of(pfn)
    judged = (
        alias_findings(arch.of(target.facts.arch), pfn, page, mapcount, aliases, area)
        if settled
        else ()
    )
    findings = *doubt_findings(sweep.doubts), *judged
    return AliasReport(
        schema=ALIAS_SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        asked=asked.address,
        walk=walk,
        pfn=pfn,
        page=page,
        mapcount=mapcount,
        spaces=sweep.spaces,
        kernel=tuple(one for one in aliases if one.region is not None),
        users=tuple(one for one in aliases if one.region is None),
        findings=findings,
        area=area,
        attempts=1,
        stable=settled,
        exit_code=exit_of(findings, undecided=not sure),
    )


def _frame(
    target: Target, paging: PagingFacts, walker: Walker, asked: AliasAsked
) -> tuple[Walk | None, int]:
    """Return the walk from the address, and the frame."""
    prog = target.prog
    number = parse_hex(asked.address)
    pfn_end = 1 << arch.of(target.facts.arch).physical_bits - PAGE_SHIFT
    if asked.pid is None and number is not None and number < pfn_end:
        return None, number
    address = find_address(prog, asked.address)
    check_address(address, paging_form(target, paging), asked.address, asked.pid)
    process = None
    if asked.pid is not None:
        pid = asked.pid
        process, _ = look_again(
            lambda: process_at(prog, paging, pid, address), live=target.facts.live
        )
    _, root = tables_of(paging, process, False)
    walk = walker.walk(root, address)
    if walk.pfn is None:
        raise PageproofError(
            f"the address leads to no frame: {walk.detail}",
            asked.address,
            "pageproof walk shows the way",
            Exit.UNDECIDED,
        )
    return walk, walk.pfn


def _counts(target: Target, pfn: int) -> tuple[StructPageFacts | None, int | None]:
    """Return ``struct page`` now, and the number of mappings that the kernel counts."""
    page = struct_page_facts(target.prog, pfn)
    return page, page_mapcount(target.prog, pfn, page)
