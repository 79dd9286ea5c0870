# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand-made facts of walk, maps and alias."""

from __future__ import annotations

from dataclasses import replace

from unit.facts import CORE, PAGE, PAGING, USER, drgns, kernel_walk, mapping, user_walk

from pageproof.arch.x86_64 import X86_64
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.arch.x86_64.paging import X86Paging
from pageproof.find.process.maps import permission_letters
from pageproof.judge.alias import alias_findings
from pageproof.model import (
    MAPS_SCHEMA,
    WALK_SCHEMA,
    MapsReport,
    Outcome,
    Permissions,
    Range,
    TableSet,
    VmaFacts,
    VmaLine,
    Walk,
    WalkReport,
)
from pageproof.model.alias import ALIAS_SCHEMA, Alias, AliasReport
from pageproof.observe.residency import spread, with_mapcounts

RW_USER = Permissions(write=True, execute=False, user=True)
SMALL, LARGE = 1 << 12, 1 << 21
HEAP = 0x0100_0000


def kernel_report() -> WalkReport:
    """A symbol of the kernel, in its own tables."""
    walk = kernel_walk()
    return WalkReport(
        schema=WALK_SCHEMA,
        version="0.1.0",
        target=CORE,
        paging=PAGING,
        asked="umh_shm_region.kaddr",
        tables=TableSet.KERNEL,
        process=None,
        vma_unknown="",
        walk=walk,
        second=drgns(walk),
        disputed=False,
        page=PAGE,
        attempts=1,
        stable=True,
        exit_code=0,
    )


def user_report(walk: Walk | None = None) -> WalkReport:
    """An address of a process; without a frame, if such a walk is given."""
    walk = walk or user_walk()
    return replace(
        kernel_report(),
        asked=f"{walk.address:x}",
        tables=TableSet.PROCESS,
        process=mapping(),
        walk=walk,
        second=drgns(walk),
        page=None if walk.pfn is None else PAGE,
        exit_code=0 if walk.outcome is Outcome.MAPPED else 3,
    )


def line(start: int, end: int, vm_flags: int = 0x3, name: str = "") -> VmaLine:
    facts = VmaFacts(
        vma=0xFFFF_8880_0111_0000 + start,
        start=start,
        end=end,
        pgoff_pages=0,
        vm_flags=vm_flags,
        vm_flags_words="READ|WRITE",
        vm_page_prot=0x8000_0000_0000_0025,
        vm_page_prot_words="PRESENT|USER|ACCESSED|NX",
        vm_ops_symbol="",
        file=None,
    )
    return VmaLine(facts, permission_letters(vm_flags), 0, 0, 0, 0, name)


def leaf(start: int, frame: int, level: int = 1, permissions: Permissions = RW_USER) -> Range:
    """The whole range of one leaf."""
    last = start + (SMALL if level == 1 else LARGE) - 1
    return Range(
        start, last, level, Outcome.MAPPED, frame, permissions, memory_type=X86MemoryType.WB
    )


def empty(start: int, last: int, outcome: Outcome = Outcome.NONE) -> Range:
    return Range(start, last, 1, outcome, None, None)


def maps_report() -> MapsReport:
    """A heap with a huge leaf and a swapped page, the region's page, a stack without any."""
    region = mapping().vma
    assert region is not None
    assert region.file is not None
    shared = VmaLine(
        vma=replace(region, vm_flags=0x4FB, vm_flags_words="READ|WRITE|SHARED|PFNMAP"),
        permissions="rw-s",
        offset_bytes=0x1000,
        device_major=0,
        device_minor=6,
        inode_number=99,
        name="/dev/umh_shm",
    )
    lines = (
        line(HEAP, HEAP + 2 * LARGE, name="[heap]"),
        shared,
        line(0x7FFC_0000_0000, 0x7FFC_0000_2000, name="[stack]"),
    )
    found = spread(
        X86Paging(levels=4),
        lines,
        [
            leaf(HEAP, 0x4000_0000, level=2),
            leaf(HEAP + LARGE, 0x7000),
            leaf(HEAP + LARGE + SMALL, 0x8000),
            empty(HEAP + LARGE + 2 * SMALL, HEAP + LARGE + 3 * SMALL - 1, Outcome.SWAP),
            empty(HEAP + LARGE + 3 * SMALL, HEAP + 2 * LARGE - 1),
            leaf(USER, 0x0340_0000),
        ],
    )
    heap = with_mapcounts(found.vmas[0], (1, 2))
    return MapsReport(
        schema=MAPS_SCHEMA,
        version="0.1.0",
        target=CORE,
        paging=PAGING,
        process=replace(mapping(), vma=None),
        pgtables_bytes=36 * 1024,
        vmas=(heap, *found.vmas[1:]),
        lost="",
        outside=(),
        attempts=1,
        stable=True,
        exit_code=0,
    )


def alias_report() -> AliasReport:
    """A page of the region: in the physmap, and in a process with PFNMAP."""
    walk = kernel_walk()
    physmap = Alias(
        tables="init_mm",
        root=PAGING.kernel_root,
        address=walk.address,
        leaf_bytes=walk.leaf_bytes,
        permissions=walk.permissions,
        memory_type=walk.memory_type,
        region="physmap",
        process=None,
        counted=False,
    )
    user = replace(
        physmap,
        tables=f"pid {mapping().pid}",
        root=mapping().root,
        address=USER,
        permissions=RW_USER,
        region=None,
        process=mapping(),
    )
    assert walk.pfn is not None
    return AliasReport(
        schema=ALIAS_SCHEMA,
        version="0.1.0",
        target=CORE,
        paging=PAGING,
        asked="umh_shm_region.kaddr",
        walk=walk,
        pfn=walk.pfn,
        page=PAGE,
        mapcount=None,
        spaces=3,
        kernel=(physmap,),
        users=(user,),
        findings=tuple(alias_findings(X86_64, walk.pfn, PAGE, None, (physmap, user))),
        area=None,
        attempts=1,
        stable=True,
        exit_code=0,
    )
