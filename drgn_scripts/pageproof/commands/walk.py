# SPDX-License-Identifier: GPL-2.0-or-later
"""``walk``: show the way from an address to its frame, level by level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pageproof import __version__
from pageproof.arch import Paging
from pageproof.attach import Target
from pageproof.errors import Exit, PageproofError
from pageproof.find.frame.opinion import second_opinion
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.kernel.expression import find_address
from pageproof.find.kernel.paging import read_paging
from pageproof.find.process.mappings import process_at
from pageproof.model import (
    WALK_SCHEMA,
    MappingFacts,
    PagingFacts,
    TableSet,
    WalkReport,
)
from pageproof.model.asked import WalkAsked
from pageproof.observe.attempts import look_until
from pageproof.observe.walkers import paging_form, walker_of
from pageproof.walk import Walker
from pageproof.walk.compare import agree, names_frame
from pageproof.walk.opinion import disputes, weigh


def walk(target: Target, asked: WalkAsked, progress: Callable[[str], None]) -> WalkReport:
    """Walk one address, until two walks agree.

    Raises:
        PageproofError: there is no such address or process.
    """
    paging = read_paging(target.prog)
    address = find_address(target.prog, asked.address)
    check_address(address, paging_form(target, paging), asked.address, asked.pid)
    if asked.user_tables and not paging.pti:
        raise PageproofError(
            "this kernel has no page-table isolation: there is one set of tables",
            "",
            "leave --user-tables out",
        )
    progress("walking")
    walker = walker_of(target, paging)
    report, attempts = look_until(
        lambda seen: seen.stable and not seen.disputed,
        lambda: _look(target, paging, walker, asked, address),
        live=target.facts.live,
    )
    return replace(report, attempts=attempts)


def check_address(address: int, form: Paging, text: str, pid: int | None) -> None:
    """Refuse an address that no table can map, and a user address without a process.

    Args:
        address: what the text gives.
        form: of the target's page tables.
        text: the address as the user wrote it.
        pid: the process that the user named.

    Raises:
        PageproofError: it is one of these.
    """
    if not form.is_canonical(address):
        raise PageproofError(
            f"the address is not canonical with {form.levels} levels of tables",
            text,
            "no table can have it: bits 63 down to the topmost one that counts must be the same",
        )
    if address <= form.lower_half_last and pid is None:
        raise PageproofError("this is a user address", text, "say of which process with --pid PID")


def _look(
    target: Target, paging: PagingFacts, walker: Walker, asked: WalkAsked, address: int
) -> WalkReport:
    prog = target.prog
    process, lost = None, ""
    if asked.pid is not None:
        process, lost = process_at(prog, paging, asked.pid, address)
    tables, root = tables_of(paging, process, asked.user_tables)
    seen = walker.walk(root, address)
    second = None
    if tables is not TableSet.PROCESS_USER:
        mm = None if process is None else process.mm
        second = weigh(seen, second_opinion(prog, mm, address, paging.sme_mask))
    page = None if seen.pfn is None else struct_page_facts(prog, seen.pfn)
    stable = True
    if target.facts.live:
        stable = agree(seen, walker.walk(root, address))
        stable = stable and not lost and is_there(target, paging, process, address)
    disputed = second is not None and disputes(seen, second)
    sure = names_frame(seen) and stable and not disputed
    return WalkReport(
        schema=WALK_SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        asked=asked.address,
        tables=tables,
        process=process,
        vma_unknown=lost,
        walk=seen,
        second=second,
        disputed=disputed,
        page=page,
        attempts=1,
        stable=stable,
        exit_code=Exit.SOUND if sure else Exit.UNDECIDED,
    )


def tables_of(
    paging: PagingFacts, process: MappingFacts | None, user: bool
) -> tuple[TableSet, int]:
    """Return which tables are walked, and their root."""
    if process is None:
        return TableSet.KERNEL, paging.kernel_root
    if user:
        return TableSet.PROCESS_USER, process.root
    return TableSet.PROCESS, process.kernel_half_root


def is_there(
    target: Target, paging: PagingFacts, process: MappingFacts | None, address: int
) -> bool:
    """Return whether the process still has these tables, and not another process."""
    if process is None:
        return True
    try:
        now, _ = process_at(target.prog, paging, process.pid, address)
    except PageproofError:
        return False
    return (now.mm, now.root) == (process.mm, process.root)
