# SPDX-License-Identifier: GPL-2.0-or-later
"""The frames that processes map: whose they are, how often, of which memory type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from pageproof.judge.audit.check import Check, Judged, judged
from pageproof.judge.audit.users import undecided_of
from pageproof.model import Finding, MemoryType, Severity, SlabFacts, SlabState
from pageproof.model.auditfacts import AuditFacts, FrameClass, FramePlaces, Need, UserFacts
from pageproof.model.rule import Rule

_PAGE_BYTES: Final = 4096
#: Classes that no process should map.
WRONG: Final = FrameClass.FREE | FrameClass.SLAB | FrameClass.TABLE
_FREED: Final = "A driver that freed pages while they were mapped by remap_pfn_range(), which "

FREE: Final = Rule(
    id="user-maps-free",
    severity=Severity.ERROR,
    sentence="a process maps a frame that is free: it sees, and may change, what the next owner "
    "puts there",
    cause=_FREED + "takes no reference.",
    fix="Unmap first (unmap_mapping_range()), or map by vm_insert_page(), which takes a reference.",
    reference="mm/memory.c: remap_pfn_range(), vm_insert_page()",
)

SLAB: Final = Rule(
    id="user-maps-slab",
    severity=Severity.ERROR,
    sentence="a process maps a slab page as if it were a page of its own: the kernel counts the "
    "mapping where the slab keeps its own data",
    cause="An entry for kmalloc() memory without the special bit: vm_insert_page() refuses slab "
    "pages, so that it was made by hand.",
    fix="Share pages of alloc_pages() or vmalloc_user(), and never slab objects.",
    reference="mm/memory.c: validate_page_before_insert()",
)

SLAB_RAW: Final = Rule(
    id="user-maps-slab-raw",
    severity=Severity.WARNING,
    sentence="a process maps a slab page by its PFN that is not all one object in use: what else "
    "is there, or will be, is open to it",
    cause="remap_pfn_range() of kmalloc() memory smaller than a page, or that was freed then.",
    fix="Share pages of alloc_pages() or vmalloc_user(); verify tells which objects are there.",
    reference="Documentation/core-api/memory-allocation.rst",
)

TABLE: Final = Rule(
    id="user-maps-table",
    severity=Severity.ERROR,
    sentence="a process maps a page table: it can give itself any memory",
    cause="A frame that was freed while mapped and became a page table, or an entry made on "
    "purpose: this is what page-table exploits look like.",
    fix="Find whose mapping it is: pageproof alias tells all mappings of the frame.",
    reference="mm/memory.c: pte_alloc_one() and its like",
)

UNCOUNTED: Final = Rule(
    id="user-maps-uncounted",
    severity=Severity.ERROR,
    sentence="{found} entries map this frame, and struct page counts {mapcount}: who has the "
    "others shares it with nobody on paper, and keeps it when it is freed",
    cause="An entry made by hand for somebody else's page, or a mapcount that was dropped twice.",
    fix="Map by vm_insert_page() or vmf_insert_page(), which count.",
    reference="mm/rmap.c: folio_add_file_rmap_pte(), folio_remove_rmap_pte()",
)

TYPES: Final = Rule(
    id="memory-types-conflict",
    severity=Severity.ERROR,
    sentence="aliases of one frame have different memory types: {types}; their order is not "
    "defined, and stale data may be read",
    cause="pgprot_noncached() or pgprot_writecombine() for a mapping of RAM whose other mappings "
    "stay write-back.",
    fix="set_memory_uc() or set_memory_wc() on the direct map first, as memtype_reserve() wants "
    "it; or map RAM write-back.",
    reference="Intel SDM 3A 12.12.4; Documentation/arch/x86/pat.rst",
)


def _where(one: FramePlaces) -> str:
    """The first mapping and the frame: places by which a baseline knows it again."""
    if not one.places:
        return f"PFN 0x{one.pfn:x}"
    space, address = one.places[0]
    return f"{space}, {address:x}, PFN 0x{one.pfn:x}"


def _shown(one: FramePlaces) -> tuple[tuple[str, str], ...]:
    return tuple(("mapped at", f"{space} {address:x}") for space, address in one.places[:8])


def _judge(facts: AuditFacts, found: Callable[[FramePlaces], Finding | None]) -> Judged:
    users = facts.users
    assert users is not None
    findings = (finding for one in users.suspects for finding in [found(one)] if finding)
    return judged(users.frames, findings, _undecided(users))


def _undecided(users: UserFacts) -> str:
    more = f"{users.more_suspects} more frames that look odd were not looked at closer"
    return "; ".join(
        text for text in (undecided_of(users), more if users.more_suspects else "") if text
    )


def free(facts: AuditFacts) -> Judged:
    """In a buddy block, or without any reference."""

    def found(one: FramePlaces) -> Finding | None:
        return FREE.finding(_where(one), _shown(one)) if _is(one, FrameClass.FREE) else None

    return _judge(facts, found)


def _is(one: FramePlaces, wanted: FrameClass) -> bool:
    return bool(one.classes & wanted) and bool(one.places)


def slab(facts: AuditFacts) -> Judged:
    """As a page that the kernel counts."""

    def found(one: FramePlaces) -> Finding | None:
        wrong = _is(one, FrameClass.SLAB) and one.counted
        return SLAB.finding(_where(one), _shown(one)) if wrong else None

    return _judge(facts, found)


def slab_raw(facts: AuditFacts) -> Judged:
    """By PFN only; an object that fills the page is its owner's to share."""

    def found(one: FramePlaces) -> Finding | None:
        if not _is(one, FrameClass.SLAB) or one.counted or _is_one_object(one.slab):
            return None
        return SLAB_RAW.finding(_where(one), (*_object(one.slab), *_shown(one)))

    return _judge(facts, found)


def _is_one_object(slab: SlabFacts | None) -> bool:
    if slab is None or slab.state is not SlabState.ALLOCATED:
        return False
    return slab.offset_bytes + _PAGE_BYTES <= slab.object_bytes


def _object(slab: SlabFacts | None) -> tuple[tuple[str, str], ...]:
    if slab is None:
        return ()
    words = f"0x{slab.start:x} of {slab.cache}, {slab.object_bytes} bytes, {slab.state.value}"
    return (("first object", words),)


def table(facts: AuditFacts) -> Judged:
    """A page that a walk comes through, or that is marked as a table."""

    def found(one: FramePlaces) -> Finding | None:
        return TABLE.finding(_where(one), _shown(one)) if _is(one, FrameClass.TABLE) else None

    return _judge(facts, found)


def _is_uncounted(one: FramePlaces) -> bool:
    return not one.classes & WRONG and one.mapcount is not None and one.counted > one.mapcount


def uncounted(facts: AuditFacts) -> Judged:
    """More entries than ``_mapcount``, of frames for which it is kept."""

    def found(one: FramePlaces) -> Finding | None:
        if not _is_uncounted(one):
            return None
        return UNCOUNTED.finding(_where(one), _shown(one), found=one.counted, mapcount=one.mapcount)

    return _judge(facts, found)


def _kinds(one: FramePlaces) -> Iterator[MemoryType]:
    """Its types; UC- is UC but where an MTRR says otherwise, which Linux has none of for RAM."""
    for _, kind in one.types:
        yield MemoryType.UC if kind is MemoryType.UC_MINUS else kind


def _is_conflict(one: FramePlaces) -> bool:
    return len(set(_kinds(one))) > 1


def is_odd(one: FramePlaces) -> bool:
    """Whether a rule of this file may have something to say of it."""
    return _is(one, WRONG) or _is_uncounted(one) or _is_conflict(one)


def types(facts: AuditFacts) -> Judged:
    """All mappings of a frame, the kernel's and those of processes."""

    def found(one: FramePlaces) -> Finding | None:
        if not _is_conflict(one):
            return None
        named = ", ".join(sorted({kind.value for _, kind in one.types}))
        shown = tuple((who, kind.value) for who, kind in one.types[:8])
        return TYPES.finding(_where(one), shown, types=named)

    return _judge(facts, found)


_NEEDS: Final = (Need.USERS, Need.FRAMES)
CHECKS: Final = (
    Check(FREE, "free frames that a process maps", "frames", _NEEDS, free),
    Check(SLAB, "slab pages that a process maps as its own", "frames", _NEEDS, slab),
    Check(SLAB_RAW, "slab pages that a process maps by PFN", "frames", _NEEDS, slab_raw),
    Check(TABLE, "page tables that a process maps", "frames", _NEEDS, table),
    Check(UNCOUNTED, "frames mapped more often than counted", "frames", _NEEDS, uncounted),
    Check(TYPES, "aliases with conflicting memory types", "frames", _NEEDS, types),
)
