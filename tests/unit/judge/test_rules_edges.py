# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about pages and VMAs at their edges: each condition alone, and what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.facts import (
    CORE,
    DIGEST,
    LIVE,
    OTHER_DIGEST,
    PAGE,
    SLOT,
    content,
    evidence,
    kernel_walk,
    lost_walk,
    mapping,
    user_walk,
)
from unit.judge.test_rules import (
    ELSEWHERE,
    K_R,
    K_RX,
    MIXED,
    NOWHERE,
    PHYSMAP,
    SHARED,
    SLAB_PAGE,
    SMALL,
    U_R,
    U_RW,
    UNCACHED,
    VMAPPED,
    WHOLE,
    counted,
    different,
    permitted,
    with_flags,
    with_permissions,
)

from pageproof import judge
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.model import (
    Finding,
    MappingFacts,
    MemoryType,
    Outcome,
    PageEvidence,
    Route,
    RouteContent,
    SecondOpinion,
    SlabFacts,
    SlabState,
    TargetFacts,
)

NO_VMA = replace(mapping(), vma=None)
#: Of ordinary pages, so that an entry that is not special fits.
MIXEDMAP = with_flags(f"{SHARED}|MIXEDMAP")
UC, WC = X86MemoryType.UC, X86MemoryType.WC


def found(
    name: str,
    one: PageEvidence,
    target: TargetFacts = CORE,
    vma: MappingFacts = MIXEDMAP,
    kind: str = "",
) -> list[Finding]:
    return [each for each in judge.prove(one, target, [vma], kind).findings if each.id == name]


def shown(name: str, one: PageEvidence, target: TargetFacts = CORE) -> dict[str, str]:
    (finding,) = found(name, one, target)
    return dict(finding.evidence)


def page(**facts: object) -> PageEvidence:
    """An entry that is counted, and a page like this."""
    return replace(counted(), page=replace(PAGE, **facts))  # type: ignore[arg-type]


def elsewhere(**facts: object) -> PageEvidence:
    """The process has another frame, and this is its page."""
    user = counted().user_walk
    walk = replace(user, paddr=ELSEWHERE, pfn=ELSEWHERE >> 12)
    return replace(evidence(user=walk), user_page=replace(PAGE, **facts))  # type: ignore[arg-type]


def large(one: PageEvidence) -> PageEvidence:
    """The user's entry is a huge page's."""
    return replace(one, user_walk=replace(one.user_walk, leaf_bytes=2 << 20))


#: More than a page, and not a number of whole ones.
LONG = replace(WHOLE, object_bytes=6144, slot_bytes=6144)


def slab(one: SlabFacts) -> PageEvidence:
    return replace(evidence(), page=SLAB_PAGE, slab=one)


def routes(*digests: str | None, zero: bool = False) -> PageEvidence:
    made = (
        RouteContent(route, digest, zero and digest is not None, "" if digest else "lost")
        for route, digest in zip(Route, digests, strict=False)
    )
    return replace(evidence(), content=tuple(made))


def slot(state: str = "IDLE", **words: int) -> PageEvidence:
    return replace(evidence(), slot=replace(SLOT, state=state, words=tuple(words.items())))


def physmap(kind: MemoryType | None, **walk: object) -> PageEvidence:
    """The region in the vmalloc area, and the direct map's alias of this type."""
    alias = replace(PHYSMAP, memory_type=kind, **walk)  # type: ignore[arg-type]
    return replace(evidence(kernel=VMAPPED), physmap_walk=alias)


ANONYMOUS = 0xFFFF_8880_0123_4501
HALF = 1 << 31
TOP = (1 << 32) - 1
K_RWU = permitted(True, False, True)

FIRES: list[tuple[str, PageEvidence]] = [
    ("frame-is-free", elsewhere(buddy=True)),
    ("frame-is-free", page(buddy=True)),
    ("user-maps-table", page(type_words="table", mapcount=None)),
    ("user-maps-table", elsewhere(type_words="table", mapcount=None)),
    ("frame-is-others", page(mapping=ANONYMOUS | 2)),
    ("shares-slab-page", slab(replace(SMALL, object_bytes=4095, slot_bytes=4096))),
    # An object that begins where a page does and ends within one: task_struct and others.
    ("shares-slab-page", slab(replace(LONG, offset_bytes=4096))),
    ("shares-slab-page", slab(replace(LONG, offset_bytes=2049))),
    ("object-is-free", slab(replace(WHOLE, object_bytes=8192, state=SlabState.FREE))),
    ("only-mappings-hold-it", page(refcount=2, mapcount=2)),
    ("only-mappings-hold-it", page(refcount=1, mapcount=2)),
    ("mapcount-wrong", page(mapcount=-1)),
    ("mapcount-wrong", elsewhere(mapcount=0)),
    ("content-routes-differ", routes(DIGEST, None, OTHER_DIGEST)),
    ("content-all-zero", routes(DIGEST, None, DIGEST, zero=True)),
    ("content-unreadable", routes(DIGEST, DIGEST, None)),
    ("content-unreadable", routes(None, DIGEST, DIGEST)),
    ("slot-state-impossible", slot(payload_len=1025)),
    ("slot-state-impossible", slot(reply_len=1025)),
    ("slot-state-impossible", slot(state="0")),
    ("slot-sequence-back", slot(seq=5, ack=6)),
    ("slot-sequence-back", slot(seq=0, ack=HALF - 1)),
    ("slot-sequence-back", slot(seq=TOP, ack=0)),
    ("slot-sequence-back", slot("DONE", seq=6, ack=5)),
    ("slot-sequence-back", slot("DONE", seq=5, ack=6)),
    ("memory-type-conflict", physmap(WC)),
    ("second-opinion-user", replace(evidence(), user_second=NOWHERE)),
    ("second-opinion-kernel", replace(evidence(), kernel_second=NOWHERE)),
    ("user-writes-kernel-executes", with_permissions(K_RX, U_RW)),
    ("kernel-open-to-user", with_permissions(permitted(False, False, True), U_R)),
]

SILENT: list[tuple[str, PageEvidence]] = [
    ("frame-is-free", elsewhere()),
    ("frame-is-others", page(mapping=ANONYMOUS - 1 | 2)),
    ("frame-is-others", page(mapping=ANONYMOUS, mapcount=None)),
    ("frame-is-others", page(mapping=ANONYMOUS, reserved=True)),
    ("frame-is-others", elsewhere(type_words="table", mapcount=None)),
    ("frame-is-others", replace(evidence(), page=None, cached_file="inode 12 of ext4")),
    ("shares-slab-page", slab(replace(SMALL, object_bytes=4096, slot_bytes=4096))),
    ("shares-slab-page", slab(LONG)),
    ("shares-slab-page", slab(replace(LONG, offset_bytes=2048))),
    ("shares-slab-page", evidence()),
    ("object-is-free", slab(replace(SMALL, state=SlabState.FREE))),
    ("object-is-free", slab(replace(WHOLE, object_bytes=4095, state=SlabState.FREE))),
    ("object-is-free", slab(WHOLE)),
    ("only-mappings-hold-it", page(refcount=0, mapcount=0)),
    ("only-mappings-hold-it", page(refcount=3, mapcount=2)),
    ("only-mappings-hold-it", page(refcount=1, mapcount=1, mapping=ANONYMOUS - 1)),
    ("only-mappings-hold-it", page(refcount=1, mapcount=1, compound=True)),
    ("only-mappings-hold-it", page(refcount=1, mapcount=1, reserved=True)),
    ("only-mappings-hold-it", page(refcount=1, mapcount=None)),
    ("only-mappings-hold-it", large(page(refcount=1, mapcount=1))),
    ("only-mappings-hold-it", replace(evidence(), page=replace(PAGE, refcount=1, mapcount=1))),
    ("only-mappings-hold-it", elsewhere(refcount=1, mapcount=1)),
    ("mapcount-wrong", page(mapcount=1, refcount=2)),
    ("mapcount-wrong", page(mapcount=0, buddy=True)),
    ("mapcount-wrong", page(mapcount=0, compound=True)),
    ("mapcount-wrong", page(mapcount=0, reserved=True)),
    ("mapcount-wrong", page(mapcount=None)),
    ("mapcount-wrong", large(page(mapcount=0))),
    ("mapcount-wrong", evidence()),
    ("mapcount-wrong", replace(counted(), page=None)),
    ("mapcount-wrong", elsewhere(mapcount=1)),
    ("content-routes-differ", routes(DIGEST, None, DIGEST)),
    ("content-routes-differ", routes(DIGEST, None, None)),
    ("content-all-zero", routes(None, None, None)),
    (
        "content-all-zero",
        replace(evidence(user=lost_walk(Outcome.SWAP)), content=content(zero=True)),
    ),
    (
        "content-all-zero",
        replace(
            evidence(kernel=replace(lost_walk(Outcome.NONE), address=1)), content=content(zero=True)
        ),
    ),
    ("content-unreadable", routes(DIGEST, DIGEST, DIGEST)),
    ("slot-state-impossible", slot(payload_len=1024, reply_len=1024)),
    ("slot-state-impossible", slot(state="", payload_len=1025)),
    ("slot-state-impossible", slot(other=1025)),
    ("slot-sequence-back", slot(seq=5, ack=5)),
    ("slot-sequence-back", slot(seq=6, ack=5)),
    ("slot-sequence-back", slot(seq=0, ack=HALF)),
    ("slot-sequence-back", slot("DONE", seq=5, ack=5)),
    ("slot-sequence-back", slot("DONE", seq=0)),
    ("slot-sequence-back", slot("", seq=5, ack=6)),
    ("memory-type-conflict", evidence(user=replace(user_walk(), memory_type=None))),
    ("memory-type-conflict", evidence(kernel=replace(kernel_walk(), memory_type=None))),
    ("memory-type-conflict", evidence(user=replace(UNCACHED, paddr=ELSEWHERE, pfn=0x76543))),
    ("memory-type-conflict", physmap(None)),
    (
        "memory-type-conflict",
        replace(physmap(UC), user_walk=replace(user_walk(), memory_type=None)),
    ),
    ("memory-type-conflict", physmap(UC, pfn=0x76543)),
    ("memory-type-conflict", replace(physmap(UC), physmap_walk=None)),
    ("memory-type-conflict", replace(physmap(UC), page=None)),
    ("memory-type-conflict", replace(physmap(UC), page=replace(PAGE, reserved=True))),
    (
        "memory-type-conflict",
        replace(
            physmap(UC),
            kernel_walk=replace(VMAPPED, memory_type=None),
            user_walk=replace(user_walk(), memory_type=None),
        ),
    ),
    (
        "memory-type-conflict",
        replace(
            physmap(UC), kernel_walk=replace(VMAPPED, paddr=ELSEWHERE, pfn=0x76543), user_page=PAGE
        ),
    ),
    ("user-writes-kernel-executes", with_permissions(K_R, U_RW)),
    ("user-writes-kernel-executes", with_permissions(K_RX, permitted(True, False, False))),
    (
        "user-writes-kernel-executes",
        evidence(kernel=replace(kernel_walk(), permissions=K_RX), user=user_walk(frame=ELSEWHERE)),
    ),
    (
        "user-writes-kernel-read-only",
        evidence(kernel=replace(kernel_walk(), permissions=K_R), user=user_walk(frame=ELSEWHERE)),
    ),
    ("user-writes-kernel-read-only", with_permissions(permitted(True, False, False), U_RW)),
    *(
        (name, one)
        for name in (
            "user-writes-kernel-executes",
            "user-writes-kernel-read-only",
            "kernel-open-to-user",
            "user-address-closed-to-user",
            "user-mapping-executable",
        )
        for one in (
            evidence(kernel=replace(kernel_walk(), permissions=None)),
            evidence(user=replace(user_walk(), permissions=None)),
        )
    ),
]


@pytest.mark.parametrize(
    ("name", "one"), FIRES, ids=[f"{number}-{row[0]}" for number, row in enumerate(FIRES)]
)
def test_fires(name: str, one: PageEvidence) -> None:
    assert len(found(name, one)) == 1
    assert found(name, replace(one, stable=False)) == []


@pytest.mark.parametrize(
    ("name", "one"), SILENT, ids=[f"{number}-{row[0]}" for number, row in enumerate(SILENT)]
)
def test_silent(name: str, one: PageEvidence) -> None:
    assert found(name, one) == []
    assert found("rule-broken", one) == []


def test_without_a_vma() -> None:
    """Addresses that the user named: rules about both sides go on, those about the VMA do not."""
    assert found("mapcount-wrong", page(mapcount=0), vma=NO_VMA) == []
    assert found("raw-frame-in-ordinary-vma", evidence(), vma=NO_VMA) == []
    assert found("only-mappings-hold-it", page(refcount=1, mapcount=1), vma=NO_VMA)


def test_a_raw_frame_is_one_of_4_kib() -> None:
    """Bit 9 of a huge entry is another one's: _PAGE_SPECIAL is of PTEs."""
    ordinary = with_flags(SHARED)
    assert found("raw-frame-in-ordinary-vma", evidence(), vma=ordinary)
    assert not found("raw-frame-in-ordinary-vma", large(evidence()), vma=ordinary)
    assert not found("raw-frame-in-ordinary-vma", counted(), vma=ordinary)
    assert not found("raw-frame-in-ordinary-vma", evidence(), vma=with_flags(f"{SHARED}|PFNMAP"))


def test_what_a_region_is_made_for() -> None:
    code = with_permissions(K_R, permitted(False, True, True))
    assert found("user-mapping-executable", code)
    assert not found("user-mapping-executable", code, kind="vdso")
    others = page(mapping=ANONYMOUS)
    assert found("frame-is-others", others)
    assert not found("frame-is-others", others, kind="devmem")
    assert found("frame-is-others", others, kind="vdso")
    table = page(type_words="table", mapcount=None)
    assert found("user-maps-table", table)
    assert not found("user-maps-table", table, kind="devmem")


@pytest.mark.parametrize("mapping", [ANONYMOUS, ANONYMOUS | 2], ids=["anonymous", "KSM"])
def test_a_process_s_own_memory_is_not_somebody_else_s(mapping: int) -> None:
    """Without a file, or of a private mapping of one; a driver's mapping has no such pages."""
    own = page(mapping=mapping)
    shared = with_flags(SHARED)
    assert shared.vma is not None
    nameless = replace(shared, vma=replace(shared.vma, file=None))
    assert not found("frame-is-others", own, vma=nameless)
    assert not found("frame-is-others", own, vma=with_flags(SHARED.replace("MAYSHARE", "")))
    assert found("frame-is-others", own, vma=shared)
    assert found("frame-is-others", own, vma=with_flags("READ|PFNMAP"))
    raw = replace(own, user_walk=evidence().user_walk)  # special
    assert found("frame-is-others", raw, vma=nameless)
    assert found("frame-is-others", own, vma=NO_VMA)


def test_content_is_only_of_a_dump_or_of_what_moves() -> None:
    mixed = replace(evidence(), content=MIXED)
    assert found("content-routes-differ", mixed, CORE)
    assert not found("content-routes-differ", mixed, LIVE)
    assert found("content-changing", mixed, LIVE)
    assert not found("content-changing", mixed, CORE)
    assert not found("content-changing", replace(different(), content=MIXED), LIVE)


ROUTES = {"kernel-virtual": DIGEST[:16], "user-virtual": DIGEST[:16], "physical": "1" * 16}
PFNS = {"our PFN": "0x3400", "drgn's PFN": "none", "drgn says": "address is not mapped"}


@pytest.mark.parametrize(
    ("name", "one", "facts"),
    [
        ("frame-is-free", page(buddy=True), {"side": "kernel", "flags": "head"}),
        ("frame-is-free", elsewhere(buddy=True), {"side": "user", "flags": "head"}),
        (
            "user-maps-table",
            page(type_words="table", mapcount=None),
            {"table": f"{PAGE.page:#x}"},
        ),
        (
            "frame-is-others",
            page(mapping=ANONYMOUS),
            {"owner": "anonymous memory of a process", "flags": "head"},
        ),
        (
            "frame-is-others",
            replace(evidence(), cached_file="inode 12 of ext4"),
            {"owner": "the page cache: inode 12 of ext4", "flags": "head"},
        ),
        (
            "shares-slab-page",
            slab(replace(SMALL, cache="kmalloc-96", object_bytes=90, slot_bytes=96)),
            {
                "cache": "kmalloc-96",
                "objects in the page": "43",  # the last one goes on in the next page
                "first object": "0xffff888003400000, 90 bytes, allocated",
            },
        ),
        (
            "object-is-free",
            slab(replace(WHOLE, state=SlabState.FREE)),
            {"object": "0xffff888003400000 of kmalloc-4k"},
        ),
        (
            "only-mappings-hold-it",
            page(refcount=1, mapcount=2),
            {"references": "1", "mappings": "2"},
        ),
        ("mapcount-wrong", page(refcount=3, mapcount=0), {"references": "3", "mappings": "0"}),
        ("content-routes-differ", replace(evidence(), content=MIXED), ROUTES),
        ("content-unreadable", routes(DIGEST, None, DIGEST), {"user-virtual": "lost"}),
        (
            "slot-state-impossible",
            slot("7", payload_len=9999),
            {"state": "7", "payload_len": "9999"},
        ),
        ("slot-sequence-back", slot(seq=5, ack=6), {"seq": "5", "ack": "6", "state": "IDLE"}),
        (
            "slot-hash-mismatch",
            replace(evidence(), slot=replace(SLOT, broken_hashes=("pl_hash", "reply_hash"))),
            {"pl_hash": "does not match its text", "reply_hash": "does not match its text"},
        ),
        ("memory-type-conflict", evidence(user=UNCACHED), {"kernel": "WB", "user": "UC"}),
        ("memory-type-conflict", physmap(WC), {"region": "WB", "direct map": "WC"}),
        ("second-opinion-kernel", replace(evidence(), kernel_second=NOWHERE), PFNS),
        (
            "second-opinion-user",
            replace(evidence(user=lost_walk(Outcome.NONE)), user_second=SecondOpinion(0x5000, 5)),
            {"our PFN": "none", "drgn's PFN": "0x5", "drgn says": ""},
        ),
    ],
)
def test_what_is_shown(name: str, one: PageEvidence, facts: dict[str, str]) -> None:
    assert shown(name, one) == facts
