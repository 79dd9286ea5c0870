# SPDX-License-Identifier: GPL-2.0-or-later
"""The frames that processes map: their owners, mapping counts and memory types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pageproof import arch
from pageproof.judge.audit.check import Check, Judged, judged
from pageproof.judge.audit.users import undecided_of
from pageproof.judge.conditions import (
    FRAME_IS_FREE,
    FRAME_IS_OTHERS,
    MAPCOUNT_WRONG,
    MEMORY_TYPE_CONFLICT,
    OBJECT_IS_FREE,
    SHARES_SLAB_PAGE,
    USER_MAPS_SLAB,
    USER_MAPS_STACK,
    USER_MAPS_TABLE,
)
from pageproof.judge.owners import area_words, stack_shown
from pageproof.model import Finding, SlabFacts, SlabState
from pageproof.model.auditfacts import AuditFacts, FrameClass, FramePlaces, Need, UserFacts
from pageproof.model.rule import Rule, Shown
from pageproof.model.where import frames, in_space
from pageproof.space.units import PAGE_BYTES


@dataclass(frozen=True)
class _Hit:
    """A frame that a rule reports, with its evidence."""

    one: FramePlaces
    shown: Shown = ()

    @property
    def key(self) -> tuple[str, int]:
        """Key to sort by the first mapping, so that adjoining pages of a process are neighbours."""
        if not self.one.places:
            return "", self.one.pfn
        space, address = self.one.places[0]
        return str(space), address

    def finding(self, rule: Rule) -> Finding:
        if not self.one.places:
            return rule.finding(frames(self.one.pfn, self.one.pfn), self.shown)
        (space, address), *others = self.one.places
        where = in_space(space, address, address + PAGE_BYTES - 1)
        mapped = [("mapped at", f"{other} {at:x}") for other, at in others[:7]]
        return rule.finding(where, (("PFN", f"0x{self.one.pfn:x}"), *self.shown, *mapped))


def _judge(
    facts: AuditFacts,
    rule: Rule,
    found: Callable[[FramePlaces], Shown | None],
    doubt: str = "",
) -> Judged:
    """Apply a rule to each suspect frame; ``found`` returns the evidence, or None."""
    users = facts.users
    assert users is not None
    hits = [
        _Hit(one, shown) for one in users.suspects for shown in [found(one)] if shown is not None
    ]
    hits.sort(key=lambda hit: hit.key)
    undecided = "; ".join(filter(None, (_undecided(users), doubt)))
    return judged(users.frames, (hit.finding(rule) for hit in hits), undecided)


def _undecided(users: UserFacts) -> str:
    more = f"{users.more_suspects} more frames that look odd were not examined"
    return "; ".join(
        text for text in (undecided_of(users), more if users.more_suspects else "") if text
    )


def free(facts: AuditFacts) -> Judged:
    """Find mapped frames in the buddy allocator or on a CPU's list of free pages."""

    def found(one: FramePlaces) -> Shown | None:
        return () if one.is_mapped_as(FrameClass.FREE) else None

    assert facts.users is not None
    return _judge(facts, FRAME_IS_FREE, found, facts.users.free_doubt)


def slab(facts: AuditFacts) -> Judged:
    """Find slab pages with an entry that the kernel counts."""

    def found(one: FramePlaces) -> Shown | None:
        return () if one.is_mapped_as(FrameClass.SLAB) and one.counted else None

    return _judge(facts, USER_MAPS_SLAB, found)


def slab_page(facts: AuditFacts) -> Judged:
    """Find slab pages mapped by PFN. A driver may share an object that fills the page."""

    def found(one: FramePlaces) -> Shown | None:
        if not one.is_mapped_as(FrameClass.SLAB) or one.counted or _fills_page(one.slab):
            return None
        return _object(one.slab)

    return _judge(facts, SHARES_SLAB_PAGE, found)


def free_object(facts: AuditFacts) -> Judged:
    """Find slab pages mapped by PFN whose only object is free."""

    def found(one: FramePlaces) -> Shown | None:
        if not one.is_mapped_as(FrameClass.SLAB) or one.counted or not _fills_page(one.slab):
            return None
        is_free = one.slab is not None and one.slab.state is SlabState.FREE
        return _object(one.slab) if is_free else None

    return _judge(facts, OBJECT_IS_FREE, found)


def _fills_page(slab: SlabFacts | None) -> bool:
    return slab is not None and slab.offset_bytes + PAGE_BYTES <= slab.object_bytes


def _object(slab: SlabFacts | None) -> Shown:
    if slab is None:
        return ()
    words = f"0x{slab.start:x} of {slab.cache}, {slab.object_bytes} bytes, {slab.state.value}"
    return (("first object", words),)


def table(facts: AuditFacts) -> Judged:
    """Find page tables: frames that a walk passes, or that struct page marks as tables."""
    return _judge(
        facts, USER_MAPS_TABLE, lambda one: () if one.is_mapped_as(FrameClass.TABLE) else None
    )


def uncounted(facts: AuditFacts) -> Judged:
    """Find frames with more entries than ``_mapcount`` counts."""

    def found(one: FramePlaces) -> Shown | None:
        if not one.is_uncounted:
            return None
        return ("mappings", str(one.counted)), ("counted", str(one.mapcount))

    return _judge(facts, MAPCOUNT_WRONG, found)


def stack(facts: AuditFacts) -> Judged:
    """Find pages of kernel stacks."""

    def found(one: FramePlaces) -> Shown | None:
        return stack_shown(one.area) if one.area is not None and one.is_mapped_stack else None

    return _judge(facts, USER_MAPS_STACK, found)


def _owner(one: FramePlaces) -> str:
    """Return the owner if it is not related to those that map the frame, else ""."""
    if one.area is not None and one.area.is_strangers:
        return area_words(one.area)
    return one.stranger


def others(facts: AuditFacts) -> Judged:
    """Find frames that a driver maps and that belong to an unrelated owner."""

    def found(one: FramePlaces) -> Shown | None:
        return (("owner", _owner(one)),) if one.is_others else None

    return _judge(facts, FRAME_IS_OTHERS, found)


def types(facts: AuditFacts) -> Judged:
    """Compare the memory types of all mappings of a frame, the kernel's included."""
    architecture = arch.of(facts.target.arch)

    def found(one: FramePlaces) -> Shown | None:
        if len(architecture.effective_types(kind for _, kind in one.types)) < 2:
            return None
        named = ", ".join(sorted({kind for _, kind in one.types}))
        return ("types", named), *one.types[:8]

    return _judge(facts, MEMORY_TYPE_CONFLICT, found)


_NEEDS: Final = (Need.USERS, Need.FRAMES)
CHECKS: Final = (
    Check(FRAME_IS_FREE, "free frames that a process maps", "frames", _NEEDS, free),
    Check(
        USER_MAPS_SLAB, "slab pages that a process maps like ordinary pages", "frames", _NEEDS, slab
    ),
    Check(
        SHARES_SLAB_PAGE,
        "slab pages that a process maps with other objects in them",
        "frames",
        _NEEDS,
        slab_page,
    ),
    Check(OBJECT_IS_FREE, "free slab objects that a process maps", "frames", _NEEDS, free_object),
    Check(USER_MAPS_TABLE, "page tables that a process maps", "frames", _NEEDS, table),
    Check(USER_MAPS_STACK, "pages of kernel stacks that a process maps", "frames", _NEEDS, stack),
    Check(FRAME_IS_OTHERS, "frames of other owners that a driver maps", "frames", _NEEDS, others),
    Check(MAPCOUNT_WRONG, "frames mapped more often than counted", "frames", _NEEDS, uncounted),
    Check(MEMORY_TYPE_CONFLICT, "aliases with conflicting memory types", "frames", _NEEDS, types),
)
