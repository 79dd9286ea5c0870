# SPDX-License-Identifier: GPL-2.0-or-later
"""``whatis``: identify an address: its row of the memory map, its frame, its owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pageproof import __version__, arch
from pageproof.attach import Target
from pageproof.commands.walk import check_address, is_there
from pageproof.find.bounded import DamagedError
from pageproof.find.frame.owner import owner_facts
from pageproof.find.frame.page import struct_page_facts
from pageproof.find.identify import BROKEN, Place, identify, unanswered
from pageproof.find.kernel.layout import read_layout
from pageproof.find.kernel.paging import read_paging
from pageproof.find.kernel.percpu import find_copy
from pageproof.find.process.mappings import process_at
from pageproof.find.process.maps import vma_line
from pageproof.judge.alias import doubt_findings
from pageproof.judge.whatis import alias_addresses, as_alias, exit_code, is_known, page_use
from pageproof.model import (
    MappingFacts,
    MemoryGap,
    Outcome,
    PagingFacts,
    TableSet,
    Walk,
)
from pageproof.model.asked import WhatisAsked
from pageproof.model.kmap import LayoutFacts, MapRow
from pageproof.model.whatis import (
    WHATIS_SCHEMA,
    FrameFacts,
    OwnerFacts,
    PageUse,
    Unknown,
    WhatisReport,
)
from pageproof.observe.attempts import look_until
from pageproof.observe.content import ContentReader
from pageproof.observe.owners import Owners
from pageproof.observe.sweep import Sweep
from pageproof.observe.walkers import paging_form, walker_of
from pageproof.render.where import where_words
from pageproof.space.rows import row_at
from pageproof.space.units import ADDRESS_LAST
from pageproof.walk import Walker
from pageproof.walk.compare import agree


@dataclass(frozen=True)
class _Scene:
    """What does not change while an address is identified."""

    target: Target
    asked: WhatisAsked
    paging: PagingFacts
    layout: LayoutFacts
    walker: Walker
    address: int
    region: MapRow


def whatis(target: Target, asked: WhatisAsked, progress: Callable[[str], None]) -> WhatisReport:
    """Identify an address, until two walks agree.

    Raises:
        PageproofError: there is no such address, CPU or process.
    """
    prog = target.prog
    paging = read_paging(prog)
    address = find_copy(prog, asked.address, asked.cpu)
    check_address(address, paging_form(target, paging), asked.address, asked.pid)
    layout = read_layout(prog, paging)
    region = row_at(arch.of(target.facts.arch).memory_map(layout), address)
    walker = walker_of(target, paging)
    scene = _Scene(target, asked, paging, layout, walker, address, region)
    progress("looking")
    report, attempts = look_until(
        lambda seen: seen.stable, lambda: _look(scene), live=target.facts.live
    )
    report = replace(report, attempts=attempts)
    return _with_mappings(scene, report, progress) if asked.aliases else report


def _with_mappings(
    scene: _Scene, report: WhatisReport, progress: Callable[[str], None]
) -> WhatisReport:
    """Add every mapping of the frame to the report, and why some may be missing."""
    if report.walk.pfn is None:
        return replace(report, mappings=())
    progress("sweeping all page tables")
    pfn = report.walk.pfn
    sweep = Sweep(scene.target, scene.paging, scene.walker, [pfn])
    mappings, stable = sweep.aliases(pfn)
    unknown = report.unknown + tuple(
        Unknown("mappings", Outcome.UNREADABLE, f"{where_words(doubt.where)}: {doubt.sentence}")
        for doubt in doubt_findings(sweep.doubts)
    )
    stable = stable and report.stable
    code = exit_code(report.walk, unknown, known=report.known, stable=stable)
    return replace(report, mappings=mappings, unknown=unknown, stable=stable, exit_code=code)


def _look(scene: _Scene) -> WhatisReport:
    target, prog, address = scene.target, scene.target.prog, scene.address
    asked, paging = scene.asked, scene.paging
    process, lost = None, ""
    if asked.pid is not None:
        process, lost = process_at(prog, paging, asked.pid, address)
    tables, root, tables_of = _tables(scene, process)
    walk = scene.walker.walk(root, address)
    place = Place(
        prog=prog,
        read_virtual=ContentReader(target, paging, scene.walker).read_kernel_virtual,
        paging=paging,
        layout=scene.layout,
        region=scene.region.region,
        address=address,
        pid=asked.pid,
        walk=walk,
    )
    identity, unknown = identify(place)
    vma = None
    if lost:
        unknown += (unanswered("vma", DamagedError(lost)),)
    if process is not None and process.vma is not None:
        try:
            vma = vma_line(prog, process.vma)
        except BROKEN as error:
            unknown += (unanswered("vma", error),)
    frame, open_questions = _frame(scene, walk)
    unknown += open_questions
    stable = not target.facts.live or (not lost and _held_still(scene, process, walk, root))
    use = None if frame is None else frame.use
    known = is_known(identity, use, in_vma=vma is not None)
    return WhatisReport(
        schema=WHATIS_SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        asked=asked.address,
        address=address,
        cpu=asked.cpu,
        region=scene.region,
        offset_bytes=address - scene.region.start,
        process=process,
        vma=vma,
        tables=tables,
        tables_of=tables_of,
        walk=walk,
        frame=frame,
        identity=identity,
        unknown=unknown,
        mappings=None,
        kasan=scene.layout.kasan_start is not None,
        known=known,
        attempts=1,
        stable=stable,
        exit_code=exit_code(walk, unknown, known=known, stable=stable),
    )


def _tables(scene: _Scene, process: MappingFacts | None) -> tuple[TableSet, int, str]:
    """Return the tables through which the address is used."""
    if process is None:
        if scene.region.region == "efi" and scene.layout.efi_root is not None:
            return TableSet.KERNEL, scene.layout.efi_root, "efi_mm"
        return TableSet.KERNEL, scene.paging.kernel_root, "init_mm"
    if scene.paging.pti and not arch.of(scene.target.facts.arch).is_upper(scene.address):
        return TableSet.PROCESS_USER, process.root, f"pid {process.pid}"
    return TableSet.PROCESS, process.kernel_half_root, f"pid {process.pid}"


def _frame(scene: _Scene, walk: Walk) -> tuple[FrameFacts | None, tuple[Unknown, ...]]:
    """Return the frame that a walk ended at, and what is unknown about it."""
    if walk.pfn is None or walk.paddr is None:
        return None, ()
    prog = scene.target.prog
    page = struct_page_facts(prog, walk.pfn)
    owner: OwnerFacts | None = None
    unknown: list[Unknown] = []
    if page is not None:
        try:
            owner = owner_facts(prog, walk.pfn, page)
        except BROKEN as error:
            unknown.append(unanswered("owner", error))
        use = page_use(page, owner)
    else:
        use, why = _no_page(scene, walk.pfn)
        unknown += why
    content = Outcome.MAPPED if page is None else _content(scene, walk.paddr)
    aliases = tuple(
        as_alias(region, scene.walker.walk(scene.paging.kernel_root, alias), walk.paddr)
        for region, alias in alias_addresses(scene.paging, scene.layout, scene.address, walk.paddr)
    )
    area = Owners(scene.target, scene.paging, scene.walker).of(walk.pfn)
    return FrameFacts(use, page, owner, content, aliases, area), tuple(unknown)


def _no_page(scene: _Scene, pfn: int) -> tuple[PageUse, tuple[Unknown, ...]]:
    """Return whether a frame has no ``struct page``, as opposed to an unreadable one."""
    where = scene.layout.vmemmap_base + pfn * scene.layout.struct_page_bytes
    walk = scene.walker.walk(scene.paging.kernel_root, where & ADDRESS_LAST)
    if walk.outcome in (Outcome.NONE, Outcome.NON_CANONICAL):
        return PageUse.NO_STRUCT_PAGE, ()
    reason = walk.detail or "the target lacks it"
    return PageUse.UNKNOWN, (Unknown("page", walk.outcome, f"struct page: {reason}"),)


def _content(scene: _Scene, paddr: int) -> Outcome:
    """Return whether a dump contains the frame's bytes."""
    if scene.target.facts.live:
        return Outcome.MAPPED
    try:
        scene.target.reader.read_physical(paddr, 1)
    except MemoryGap as gap:
        return gap.outcome
    return Outcome.MAPPED


def _held_still(scene: _Scene, process: MappingFacts | None, walk: Walk, root: int) -> bool:
    """Return whether the walk is the same after everything was read as before."""
    if not agree(walk, scene.walker.walk(root, scene.address)):
        return False
    return is_there(scene.target, scene.paging, process, scene.address)
