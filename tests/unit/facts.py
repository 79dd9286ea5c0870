# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand-made facts: a sound page that each test changes in the one place that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pageproof import judge
from pageproof.arch.x86_64.memtypes import LINUX_PAT, X86MemoryType
from pageproof.model import (
    SCHEMA,
    EntryKind,
    FileFacts,
    Finding,
    MappingFacts,
    Outcome,
    PageEvidence,
    PageProof,
    PageRun,
    PagingFacts,
    Permissions,
    ProvedRegion,
    ProvedUse,
    RegionFacts,
    Report,
    Route,
    RouteContent,
    SecondOpinion,
    SlotFacts,
    Step,
    StructPageFacts,
    TargetFacts,
    TargetKind,
    TaskFault,
    Times,
    VmaFacts,
    Walk,
)
from pageproof.walk.opinion import weigh

KERNEL = 0xFFFF_8880_0340_0000
USER = 0x7F8B_5FEB_0000
FRAME = 0x0340_0000
DIGEST = "2254bde237566bee" + "0" * 48
OTHER_DIGEST = "1111111111111111" + "0" * 48

CORE = TargetFacts(
    kind=TargetKind.CORE,
    where="vmcore",
    format="elf",
    release="6.1.0-56-cloud-amd64",
    live=False,
    zero_fills=False,
    arch="x86_64",
)
LIVE = TargetFacts(
    kind=TargetKind.LIVE,
    where="/proc/kcore",
    format="kcore",
    release="6.1.0-56-cloud-amd64",
    live=True,
    zero_fills=True,
    arch="x86_64",
)
PAGING = PagingFacts(
    levels=4,
    levels_from="VMCOREINFO pgtable_l5_enabled",
    kernel_root=0x2C10000,
    sme_mask=0,
    pat=LINUX_PAT,
    pti=False,
    page_offset_base=0xFFFF_8880_0000_0000,
    vmalloc_base=0xFFFF_C900_0000_0000,
    vmemmap_base=0xFFFF_EA00_0000_0000,
    phys_base=0,
    swap=None,
)


def region(pages: int = 1) -> RegionFacts:
    return RegionFacts(
        name="umh_shm_region",
        kernel_address=KERNEL,
        length_bytes=pages * 4096,
        pages=pages,
        backing="kzalloc",
        map="remap",
    )


def kernel_walk(page: int = 0) -> Walk:
    """A 2 MiB leaf of the direct map."""
    paddr = FRAME + page * 4096
    return Walk(
        address=KERNEL + page * 4096,
        root=0x2C10000,
        levels=4,
        steps=(
            _step(4, "PGD", 0x2C10000, 273, 0x2E01067, 0x2E01000),
            _step(3, "PUD", 0x2E01000, 0, 0x2E02067, 0x2E02000),
            Step(
                2,
                "PMD",
                0x2E02000,
                26,
                0x8000_0000_0340_01E3,
                EntryKind.LEAF,
                ("P", "RW", "A", "D", "PSE", "G", "NX"),
                FRAME,
            ),
        ),
        outcome=Outcome.MAPPED,
        paddr=paddr,
        pfn=paddr >> 12,
        leaf_bytes=2 << 20,
        permissions=Permissions(write=True, execute=False, user=False),
        memory_type=X86MemoryType.WB,
    )


def user_walk(page: int = 0, frame: int | None = None) -> Walk:
    """A 4 KiB page; of the same frame, if no other is named."""
    paddr = FRAME + page * 4096 if frame is None else frame
    index = 176 + page
    return Walk(
        address=USER + page * 4096,
        root=0x1830000,
        levels=4,
        steps=(
            _step(4, "PGD", 0x1830000, 255, 0x2AA42067, 0x2AA42000),
            _step(3, "PUD", 0x2AA42000, 45, 0x2AA3C067, 0x2AA3C000),
            _step(2, "PMD", 0x2AA3C000, 255, 0x2AA3A067, 0x2AA3A000),
            Step(
                1,
                "PTE",
                0x2AA3A000,
                index,
                1 << 63 | paddr | 0x267,
                EntryKind.LEAF,
                ("P", "RW", "US", "A", "D", "SW9", "NX"),
                paddr,
            ),
        ),
        outcome=Outcome.MAPPED,
        paddr=paddr,
        pfn=paddr >> 12,
        leaf_bytes=4096,
        permissions=Permissions(write=True, execute=False, user=True),
        memory_type=X86MemoryType.WB,
    )


def lost_walk(outcome: Outcome, page: int = 0) -> Walk:
    """A user side without a frame."""
    whole = user_walk(page)
    return replace(
        whole,
        steps=(
            *whole.steps[:-1],
            replace(whole.steps[-1], entry=0, kind=EntryKind.NONE, flags=(), base=None),
        ),
        outcome=outcome,
        paddr=None,
        pfn=None,
        leaf_bytes=0,
        permissions=None,
        memory_type=None,
        detail=f"PTE entry {176 + page} of the table at 0x2aa3a000 is {outcome.value}",
    )


def _step(level: int, name: str, table: int, index: int, entry: int, base: int) -> Step:
    return Step(level, name, table, index, entry, EntryKind.TABLE, ("P", "RW", "US", "A"), base)


PAGE = StructPageFacts(
    page=0xFFFF_EA00_000D_0000,
    flags=0xF_FFFF_C001_0000,
    flags_words="head",
    type_words="",
    refcount=1,
    mapcount=0,
    head=0xFFFF_EA00_000D_0000,
    reserved=False,
    hwpoison=False,
    buddy=False,
    compound=False,
    mapping=0,
)
SLOT = SlotFacts(
    id=2,
    payload="hello",
    pl_hash="world",
    state="IDLE",
    reply="2 hello world",
    words=(("seq", 1), ("payload_len", 5), ("ack", 1), ("status", 0), ("reply_len", 13)),
)


def drgns(walk: Walk) -> SecondOpinion:
    """What drgn 0.3.0 says of the same tables.

    Recorded from a guest of Linux 6.12: of a page after mprotect(PROT_NONE), follow_phys() raises
    FaultError('address is not mapped', 0x7fb304aea000), as of a page without an entry.
    """
    if walk.outcome is Outcome.MAPPED:
        said = SecondOpinion(walk.paddr, walk.pfn)
    else:
        said = SecondOpinion(None, None, f"address is not mapped: 0x{walk.address:x}")
    return weigh(walk, said)


def content(digest: str | None = DIGEST, *, zero: bool = False) -> tuple[RouteContent, ...]:
    error = "" if digest else "excluded: left out of the dump"
    return tuple(
        RouteContent(route, digest, zero, error)
        for route in (Route.KERNEL_VIRTUAL, Route.USER_VIRTUAL, Route.PHYSICAL)
    )


def evidence(page: int = 0, kernel: Walk | None = None, user: Walk | None = None) -> PageEvidence:
    """What a sound page looks like, unless another walk is given."""
    kernel = kernel or kernel_walk(page)
    user = user or user_walk(page)
    return PageEvidence(
        mapping=0,
        region=0,
        page_index=page,
        kernel_address=kernel.address,
        user_address=user.address,
        kernel_walk=kernel,
        user_walk=user,
        kernel_second=drgns(kernel),
        user_second=drgns(user),
        page=PAGE,
        user_page=None,
        content=content(),
        slot=SLOT,
        attempts=1,
        stable=True,
        content_stable=True,
    )


def mapping(first: int = 0, pages: int = 1, pid: int = 133) -> MappingFacts:
    return MappingFacts(
        pid=pid,
        comm="umh_shm_helper",
        threads=1,
        other_pids=(),
        mm=0xFFFF_8880_0105_0480,
        root=0x1830000,
        kernel_half_root=0x1830000,
        vma=VmaFacts(
            vma=0xFFFF_8880_0111_0000,
            start=USER + first * 4096,
            end=USER + (first + pages) * 4096,
            pgoff_pages=first,
            vm_flags=0x40444D1,
            vm_flags_words="READ|MAYREAD|MAYEXEC|MAYSHARE|PFNMAP|IO|DONTEXPAND|DONTDUMP",
            vm_page_prot=0x8000_0000_0000_0025,
            vm_page_prot_words="PRESENT|USER|ACCESSED|NX",
            vm_ops_symbol="umh_shm_vm_ops",
            file=FileFacts(
                file=0xFFFF_8880_0AAF_2100,
                f_op=0xFFFF_FFFF_C012_3000,
                f_op_symbol="umh_shm_fops",
                dentry_name="umh_shm",
                inode=0xFFFF_8880_021D_6240,
                inode_number=99,
                i_mode=0x2180,
                i_mode_words="character device, rw-------",
                private_data=0xFFFF_FFFF_C012_4000,
            ),
        ),
    )


def proof(one: PageEvidence, target: TargetFacts = CORE, pages: int = 1) -> PageProof:
    return judge.prove(one, target, [mapping(pages=pages)])


def proved(
    proofs: Sequence[PageProof], mappings: Sequence[MappingFacts], pages: int
) -> tuple[ProvedRegion, ...]:
    """The module's region, as the proofs have it."""
    uses = []
    for number, one in enumerate(mappings):
        assert one.vma is not None
        runs = [
            PageRun(proof.evidence.page_index, 1, proof.verdict, proof.reason)
            for proof in proofs
            if proof.evidence.mapping == number and proof.evidence.page_index is not None
        ]
        uses.append(ProvedUse(number, one.vma.pgoff_pages, tuple(runs)))
    return (
        ProvedRegion(
            kind="umh_shm",
            part="",
            name="/dev/umh_shm, kzalloc, remap",
            owner=KERNEL,
            owner_type="struct umh_shm_region",
            pages=pages,
            uses=tuple(uses),
        ),
    )


def report(
    *evidences: PageEvidence,
    target: TargetFacts = CORE,
    pages: int | None = None,
    mappings: tuple[MappingFacts, ...] | None = None,
    findings: tuple[Finding, ...] = (),
    faults: tuple[TaskFault, ...] = (),
) -> Report:
    """A whole report, judged for real."""
    count = len(evidences) if pages is None else pages
    if mappings is None:
        mappings = (mapping(pages=max(len(evidences), 1)),)
    proofs = [judge.prove(one, target, mappings) for one in evidences]
    findings += judge.task_findings(faults)
    return Report(
        schema=SCHEMA,
        version="0.1.0",
        target=target,
        paging=PAGING,
        region=region(count),
        regions=proved(proofs, mappings, count),
        mappings=mappings,
        proofs=tuple(proofs),
        unmapped_pages=judge.unmapped_pages(region(count), mappings),
        task_faults=faults,
        findings=findings,
        times=Times(attach_seconds=0.11, debug_info_seconds=0.52, verify_seconds=0.03),
        summary=judge.summarize(proofs, findings, faults),
    )
