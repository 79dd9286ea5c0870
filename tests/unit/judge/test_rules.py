# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules on hand-made facts: for each one case that fires and one that is near and silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.facts import (
    CORE,
    LIVE,
    OTHER_DIGEST,
    PAGE,
    SLOT,
    content,
    evidence,
    kernel_walk,
    lost_walk,
    mapping,
    proof,
    user_walk,
)
from unit.judge.test_rules_frames import WRONG

from pageproof import judge
from pageproof.arch.x86_64.memtypes import X86MemoryType
from pageproof.judge import MappingView
from pageproof.model import (
    AreaOwner,
    MappingFacts,
    Outcome,
    OwnerKind,
    PageEvidence,
    Permissions,
    Route,
    RouteContent,
    SecondOpinion,
    Severity,
    SlabFacts,
    SlabState,
    TargetFacts,
    Verdict,
)
from pageproof.model.asked import Expectation
from pageproof.render.where import where_words

ELSEWHERE = 0x7654_3000
NOWHERE = SecondOpinion(None, None, "address is not mapped")


def different() -> PageEvidence:
    return evidence(user=user_walk(frame=ELSEWHERE))


# Of a page: (id, severity, evidence that fires, evidence that is near and silent, target)


def permitted(write: bool, execute: bool, user: bool) -> Permissions:
    return Permissions(write=write, execute=execute, user=user)


def with_permissions(kernel: Permissions, user: Permissions) -> PageEvidence:
    return evidence(
        kernel=replace(kernel_walk(), permissions=kernel),
        user=replace(user_walk(), permissions=user),
    )


K_RW = permitted(True, False, False)
K_RX = permitted(False, True, False)
K_R = permitted(False, False, False)
U_RW = permitted(True, False, True)
U_R = permitted(False, False, True)
UNCACHED = replace(user_walk(), memory_type=X86MemoryType.UC)
MIXED = (
    *content()[:2],
    RouteContent(Route.PHYSICAL, OTHER_DIGEST, False),
)
#: The region is in the vmalloc area; the direct map has its frame too.
PHYSMAP = kernel_walk()
VMAPPED = replace(PHYSMAP, address=0xFFFF_C900_0001_0000)
SLAB_PAGE = replace(PAGE, type_words="slab", mapcount=None)
SMALL = SlabFacts("kmalloc-64", 0xFFFF_8880_0340_0000, 0, 64, 64, SlabState.ALLOCATED)
WHOLE = replace(SMALL, cache="kmalloc-4k", object_bytes=4096, slot_bytes=4096)


def counted() -> PageEvidence:
    """A page that a process maps by an entry that struct page counts."""
    walk = user_walk()
    last = walk.steps[-1]
    plain = replace(last, entry=last.entry & ~0x200)
    return evidence(user=replace(walk, steps=(*walk.steps[:-1], plain)))


HALF_ZERO = (*content(zero=True)[:2], RouteContent(Route.PHYSICAL, OTHER_DIGEST, False))

STACK = AreaOwner(OwnerKind.STACK, 0x1000, 0x6000, True, pid=12, comm="other")
STRANGERS = AreaOwner(OwnerKind.VMALLOC, 0x1000, 0x6000, True, "f+0x1", "theirs", related=False)


PAGES: list[tuple[str, Severity, PageEvidence, PageEvidence, TargetFacts]] = [
    (
        "memory-type-conflict",
        Severity.ERROR,
        evidence(user=UNCACHED),
        evidence(
            kernel=replace(kernel_walk(), memory_type=X86MemoryType.UC),
            user=UNCACHED,
        ),
        CORE,
    ),
    (
        "user-writes-kernel-executes",
        Severity.ERROR,
        with_permissions(permitted(True, True, False), U_RW),
        with_permissions(permitted(True, True, False), U_R),
        CORE,
    ),
    (
        "kernel-open-to-user",
        Severity.ERROR,
        with_permissions(permitted(True, False, True), U_RW),
        with_permissions(K_RW, U_RW),
        CORE,
    ),
    (
        "frame-is-free",
        Severity.ERROR,
        replace(evidence(), page=replace(PAGE, buddy=True, type_words="buddy")),
        replace(evidence(), page=replace(PAGE, type_words="slab", refcount=0, mapcount=None)),
        CORE,
    ),
    (
        "frame-is-poisoned",
        Severity.ERROR,
        replace(evidence(), page=replace(PAGE, hwpoison=True)),
        replace(evidence(), page=None),
        CORE,
    ),
    (
        "content-routes-differ",
        Severity.ERROR,
        replace(evidence(), content=MIXED),
        replace(different(), content=MIXED),
        CORE,
    ),
    (
        "content-changing",
        Severity.NOTE,
        replace(evidence(), content=MIXED, content_stable=False, attempts=5),
        evidence(),
        LIVE,
    ),
    (
        "user-address-closed-to-user",
        Severity.WARNING,
        with_permissions(K_RW, permitted(True, False, False)),
        with_permissions(K_RW, U_R),
        CORE,
    ),
    (
        "user-mapping-executable",
        Severity.WARNING,
        with_permissions(K_RW, permitted(True, True, True)),
        with_permissions(K_RX, U_R),
        CORE,
    ),
    (
        "user-writes-kernel-read-only",
        Severity.WARNING,
        with_permissions(K_R, U_RW),
        with_permissions(K_R, U_R),
        CORE,
    ),
    (
        "data-damaged",
        Severity.WARNING,
        evidence(user=lost_walk(Outcome.RESERVED_BITS)),
        evidence(user=lost_walk(Outcome.NONE)),
        CORE,
    ),
    (
        "prot-none",
        Severity.NOTE,
        evidence(user=replace(user_walk(), outcome=Outcome.PROT_NONE)),
        evidence(user=lost_walk(Outcome.NONE)),
        CORE,
    ),
    (
        "content-all-zero",
        Severity.NOTE,
        replace(evidence(), content=content(zero=True)),
        replace(evidence(), content=HALF_ZERO),
        LIVE,
    ),
    (
        "content-unreadable",
        Severity.NOTE,
        replace(evidence(), content=content(None)),
        replace(evidence(user=lost_walk(Outcome.NONE)), content=content(None)),
        CORE,
    ),
    (
        "memory-type-conflict",
        Severity.ERROR,
        replace(
            evidence(kernel=VMAPPED), physmap_walk=replace(PHYSMAP, memory_type=X86MemoryType.UC)
        ),
        replace(evidence(kernel=VMAPPED), physmap_walk=PHYSMAP),
        CORE,
    ),
    (
        "frame-is-others",
        Severity.ERROR,
        replace(evidence(), page=replace(PAGE, mapping=0xFFFF_8880_0123_4501)),
        replace(evidence(), page=replace(PAGE, mapping=0xFFFF_8880_0123_4500)),
        CORE,
    ),
    (
        "user-maps-table",
        Severity.ERROR,
        replace(evidence(), page=replace(PAGE, type_words="table", mapcount=None)),
        replace(evidence(), page=replace(PAGE, type_words="slab", mapcount=None)),
        CORE,
    ),
    (
        "frame-is-others",
        Severity.ERROR,
        replace(evidence(), cached_file="inode 12 of ext4"),
        evidence(),
        CORE,
    ),
    (
        "frame-is-others",
        Severity.ERROR,
        replace(evidence(), area=STRANGERS),
        replace(evidence(), area=replace(STRANGERS, related=None)),
        CORE,
    ),
    (
        "user-maps-stack",
        Severity.ERROR,
        replace(evidence(), area=STACK),
        replace(evidence(), area=STRANGERS),
        CORE,
    ),
    (
        "shares-slab-page",
        Severity.ERROR,
        replace(evidence(), page=SLAB_PAGE, slab=SMALL),
        replace(evidence(), page=SLAB_PAGE, slab=WHOLE),
        CORE,
    ),
    (
        "object-is-free",
        Severity.ERROR,
        replace(evidence(), page=SLAB_PAGE, slab=replace(WHOLE, state=SlabState.FREE)),
        replace(evidence(), page=SLAB_PAGE, slab=replace(WHOLE, state=SlabState.UNKNOWN)),
        CORE,
    ),
    (
        "only-mappings-hold-it",
        Severity.ERROR,
        replace(counted(), page=replace(PAGE, refcount=1, mapcount=1)),
        replace(counted(), page=replace(PAGE, refcount=2, mapcount=1)),
        CORE,
    ),
    (
        "mapcount-wrong",
        Severity.ERROR,
        replace(counted(), page=replace(PAGE, refcount=1, mapcount=0)),
        replace(counted(), page=replace(PAGE, refcount=1, mapcount=0), stable=False),
        LIVE,
    ),
    (
        "slot-state-impossible",
        Severity.ERROR,
        replace(evidence(), slot=replace(SLOT, state="7")),
        replace(evidence(), slot=replace(SLOT, state="")),
        CORE,
    ),
    (
        "slot-sequence-back",
        Severity.ERROR,
        replace(evidence(), slot=replace(SLOT, words=(("seq", 1), ("ack", 2)))),
        replace(evidence(), slot=replace(SLOT, words=(("seq", 0), ("ack", 0xFFFF_FFFF)))),
        CORE,
    ),
    (
        "slot-hash-mismatch",
        Severity.ERROR,
        replace(evidence(), slot=replace(SLOT, broken_hashes=("pl_hash",))),
        replace(evidence(), slot=None),
        CORE,
    ),
]


@pytest.mark.parametrize(
    ("name", "severity", "fires", "silent", "target"), PAGES, ids=[rule[0] for rule in PAGES]
)
def test_a_rule_of_pages_fires_and_stays_silent(
    name: str,
    severity: Severity,
    fires: PageEvidence,
    silent: PageEvidence,
    target: TargetFacts,
) -> None:
    found = {f.id: f for f in proof(fires, target).findings}
    assert found[name].severity is severity
    assert where_words(found[name].where) == "page 0, pid 133 at 0x7f8b5feb0000"
    assert name not in {f.id for f in proof(silent, target).findings}


def test_lengths_and_sequences_of_a_slot() -> None:
    long = replace(SLOT, words=(("seq", 1), ("payload_len", 1025), ("ack", 1)))
    other = replace(SLOT, state="DONE", words=(("seq", 2), ("ack", 1)))
    for slot, name in ((long, "slot-state-impossible"), (other, "slot-sequence-back")):
        assert name in {f.id for f in proof(replace(evidence(), slot=slot)).findings}


def test_a_raw_frame_in_an_ordinary_vma() -> None:
    """It depends on the mapping too; the zero page is always mapped like that."""
    fires, silent = with_flags(SHARED), with_flags(f"{SHARED}|MIXEDMAP")
    (found,) = judge.prove(evidence(), CORE, [fires]).findings
    assert (found.id, found.severity) == ("raw-frame-in-ordinary-vma", Severity.ERROR)
    assert judge.prove(evidence(), CORE, [silent]).findings == ()
    assert judge.prove(replace(evidence(), zero_page=True), CORE, [fires]).findings == ()


def test_an_entry_of_swap_is_no_raw_frame() -> None:
    """Its bits are the offset's."""
    lost = lost_walk(Outcome.SWAP)
    swapped = replace(lost, steps=(*lost.steps[:-1], replace(lost.steps[-1], entry=0x200)))
    found = judge.prove(evidence(user=swapped), CORE, [with_flags(SHARED)]).findings
    assert "raw-frame-in-ordinary-vma" not in {one.id for one in found}


def test_a_rule_that_breaks_does_not_lose_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(view: object) -> None:
        raise KeyError("oops")

    first, *others = judge.PAGE_RULES
    monkeypatch.setattr("pageproof.judge.rules.PAGE_RULES", ((first[0], breaks), *others))
    one = replace(evidence(), page=replace(PAGE, hwpoison=True))
    broken, *found = proof(one).findings
    assert (broken.id, broken.severity) == ("rule-broken", Severity.WARNING)
    assert broken.sentence.startswith("the rule second-opinion-kernel failed, ")
    assert where_words(broken.where) == "page 0, pid 133 at 0x7f8b5feb0000"
    assert broken.evidence == (("error", "KeyError('oops')"),)
    assert "frame-is-poisoned" in {f.id for f in found}


# Of a mapping


def with_flags(words: str) -> MappingFacts:
    one = mapping()
    assert one.vma is not None
    return replace(one, vma=replace(one.vma, vm_flags_words=words))


def without_operations() -> MappingFacts:
    one = mapping()
    assert one.vma is not None
    return replace(one, vma=replace(one.vma, gone=(("vm_ops", 0xFFFF_FFFF_C012_3000),)))


SHARED = "READ|SHARED|MAYREAD|MAYWRITE|MAYEXEC|MAYSHARE"
EXPECT = {one: frozenset({one}) for one in Expectation}
NOTHING: frozenset[Expectation] = frozenset()
MAPPINGS: list[tuple[str, Severity, MappingView, MappingView]] = [
    (
        "operations-gone",
        Severity.ERROR,
        MappingView(without_operations(), NOTHING),
        MappingView(mapping(), NOTHING),
    ),
    (
        "region-is-freed",
        Severity.ERROR,
        MappingView(mapping(), NOTHING, data_is_freed=True),
        MappingView(mapping(), NOTHING),
    ),
    (
        "inherited",
        Severity.ERROR,
        MappingView(with_flags(SHARED), EXPECT[Expectation.NO_CHILD], handed_on=True),
        MappingView(with_flags(SHARED), NOTHING, handed_on=True),
    ),
    (
        "may-be-inherited",
        Severity.WARNING,
        MappingView(with_flags(SHARED), EXPECT[Expectation.NO_CHILD]),
        MappingView(with_flags(f"{SHARED}|DONTCOPY"), EXPECT[Expectation.NO_CHILD]),
    ),
    (
        "writable-read-only",
        Severity.ERROR,
        MappingView(with_flags(f"{SHARED}|WRITE"), EXPECT[Expectation.READ_ONLY]),
        MappingView(with_flags(SHARED), EXPECT[Expectation.READ_ONLY]),
    ),
    (
        "may-become-writable",
        Severity.ERROR,
        MappingView(with_flags(SHARED), EXPECT[Expectation.READ_ONLY]),
        MappingView(with_flags("READ|SHARED|MAYREAD"), EXPECT[Expectation.READ_ONLY]),
    ),
    (
        "may-become-executable",
        Severity.WARNING,
        MappingView(with_flags(SHARED), EXPECT[Expectation.NO_EXEC]),
        MappingView(with_flags(f"{SHARED}|EXEC"), EXPECT[Expectation.NO_EXEC]),
    ),
    (
        "pfnmap-flags",
        Severity.WARNING,
        MappingView(with_flags(f"{SHARED}|PFNMAP|IO|DONTEXPAND"), NOTHING),
        MappingView(with_flags(f"{SHARED}|PFNMAP|DONTEXPAND|DONTDUMP"), NOTHING),
    ),
    (
        "mapping-incomplete",
        Severity.WARNING,
        MappingView(mapping(), NOTHING, lacking=(range(2, 4),)),
        MappingView(mapping(), NOTHING),
    ),
]


@pytest.mark.parametrize(
    ("name", "severity", "fires", "silent"), MAPPINGS, ids=[rule[0] for rule in MAPPINGS]
)
def test_a_rule_of_mappings_fires_and_stays_silent(
    name: str, severity: Severity, fires: MappingView, silent: MappingView
) -> None:
    (found,) = judge.mapping_findings(fires)
    assert (found.id, found.severity, where_words(found.where)) == (
        name,
        severity,
        "pid 133 at 0x7f8b5feb0000",
    )
    assert name not in {f.id for f in judge.mapping_findings(silent)}


def test_an_address_without_a_vma_is_no_mapping() -> None:
    assert judge.mapping_findings(MappingView(replace(mapping(), vma=None), NOTHING)) == ()


# All of them


def test_every_rule_fires_in_some_test() -> None:
    disputed = {"second-opinion-kernel", "second-opinion-user"}
    alone = {"raw-frame-in-ordinary-vma", "rule-broken"}
    tested = {one[0] for one in (*PAGES, *MAPPINGS, *WRONG)} | disputed | alone
    assert tested == {rule.id for rule in judge.RULES}


def test_every_rule_can_be_explained() -> None:
    assert len({rule.id for rule in judge.RULES}) == len(judge.RULES)
    for rule in judge.RULES:
        assert all((rule.sentence, rule.cause, rule.fix, rule.reference)), rule.id


def test_changing_content_of_a_live_target_never_makes_it_different() -> None:
    one = replace(evidence(), content=MIXED, content_stable=False, attempts=5)
    got = proof(one, LIVE)
    assert got.verdict is Verdict.SAME
    assert [f.severity for f in got.findings] == [Severity.NOTE]
