# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of ``verify``, and the functions that run them; a failing rule stops no other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeVar

from pageproof.judge import conditions
from pageproof.judge.rules import content, damage, life, rights
from pageproof.judge.rules.frames import FRAME_RULES, frame_findings
from pageproof.judge.rules.mapping import EXPECTING, MAPPING_RULES, REGION_IS_FREED
from pageproof.judge.rules.views import Differing, FramesView, MappingView, PageView
from pageproof.model import Finding, Severity, kinds
from pageproof.model.asked import Expectation
from pageproof.model.rule import Rule, Shown
from pageproof.model.where import Where, in_process

__all__ = [
    "MAPPING_RULES",
    "PAGE_RULES",
    "RULES",
    "RULE_BROKEN",
    "Differing",
    "FramesView",
    "MappingView",
    "PageView",
    "frame_findings",
    "mapping_findings",
    "page_findings",
    "rule_ids",
]

_View = TypeVar("_View")

#: Rules with their checks; a check returns evidence if the rule fires. Reports keep this order.
PAGE_RULES: Final[tuple[tuple[Rule, Callable[[PageView], Shown | None]], ...]] = (
    (rights.SECOND_OPINION_KERNEL, rights.second_opinion_kernel),
    (rights.SECOND_OPINION_USER, rights.second_opinion_user),
    (damage.DATA_DAMAGED, damage.data_damaged),
    (conditions.MEMORY_TYPE_CONFLICT, rights.memory_type_conflict),
    (rights.USER_WRITES_KERNEL_EXECUTES, rights.user_writes_kernel_executes),
    (conditions.OPEN_TO_USER, rights.kernel_open_to_user),
    (rights.RAW_FRAME_IN_ORDINARY_VMA, rights.raw_frame_in_ordinary_vma),
    (conditions.FRAME_IS_FREE, life.frame_is_free),
    (life.FRAME_IS_POISONED, life.frame_is_poisoned),
    (conditions.FRAME_IS_OTHERS, life.frame_is_others),
    (conditions.USER_MAPS_STACK, life.user_maps_stack),
    (conditions.USER_MAPS_TABLE, life.user_maps_table),
    (conditions.SHARES_SLAB_PAGE, life.shares_slab_page),
    (conditions.OBJECT_IS_FREE, life.object_is_free),
    (life.ONLY_MAPPINGS_HOLD_IT, life.only_mappings_hold_it),
    (conditions.MAPCOUNT_WRONG, life.mapcount_wrong),
    (content.CONTENT_ROUTES_DIFFER, content.content_routes_differ),
    (content.SLOT_STATE_IMPOSSIBLE, content.slot_state_impossible),
    (content.SLOT_SEQUENCE_BACK, content.slot_sequence_back),
    (content.SLOT_HASH_MISMATCH, content.slot_hash_mismatch),
    (rights.USER_ADDRESS_CLOSED_TO_USER, rights.user_address_closed_to_user),
    (rights.USER_MAPPING_EXECUTABLE, rights.user_mapping_executable),
    (rights.USER_WRITES_KERNEL_READ_ONLY, rights.user_writes_kernel_read_only),
    (rights.PROT_NONE, rights.prot_none),
    (content.CONTENT_CHANGING, content.content_changing),
    (content.CONTENT_ALL_ZERO, content.content_all_zero),
    (content.CONTENT_UNREADABLE, content.content_unreadable),
)

RULE_BROKEN: Final = Rule(
    id="rule-broken",
    severity=Severity.WARNING,
    sentence="the rule {rule} failed, so its condition was not checked here",
    cause="A bug of pageproof.",
    fix="Report it, with the JSON report.",
    reference="judge/rules/",
)

#: All rules of verify, for ``explain``.
RULES: Final[tuple[Rule, ...]] = (
    *FRAME_RULES,
    *(rule for rule, _ in MAPPING_RULES),
    *(rule for rule, _ in PAGE_RULES),
    RULE_BROKEN,
)

#: Rules about slots, which only the module's region has.
_OF_SLOTS: Final = frozenset(
    {content.SLOT_STATE_IMPOSSIBLE, content.SLOT_SEQUENCE_BACK, content.SLOT_HASH_MISMATCH}
)


def rule_ids(
    kind: str, expected: Collection[Expectation] = (), *, of_device: bool = False
) -> tuple[str, ...]:
    """Return the ids of rules of severity error that are applied to a mapping with evidence.

    Args:
        kind: the region's.
        expected: the expectations given; rules about the others are not applied.
        of_device: ``--device`` was given, so the file's private data is checked too.
    """
    return tuple(
        rule.id
        for rule in RULES
        if rule.severity is Severity.ERROR
        and (rule not in _OF_SLOTS or kind == kinds.UMH_SHM)
        and (rule not in EXPECTING or EXPECTING[rule] in expected)
        and (rule is not REGION_IS_FREED or of_device)
    )


#: Rules that a kind of region breaks by design.
_ALLOWED: Final[dict[str, Collection[Rule]]] = {kinds.VDSO: {rights.USER_MAPPING_EXECUTABLE}}


def page_findings(view: PageView, where: Where) -> tuple[Finding, ...]:
    """Run all rules on one page, except those that its kind of region breaks by design.

    A page that moved or whose mapping is gone is skipped: its frame may have another owner by now.
    """
    if not view.evidence.stable:
        return ()
    allowed = _ALLOWED.get(view.kind, ())
    return tuple(_run((one for one in PAGE_RULES if one[0] not in allowed), view, where))


def mapping_findings(view: MappingView) -> tuple[Finding, ...]:
    """Run all rules on one mapping; without a VMA there is nothing to check."""
    vma = view.mapping.vma
    if vma is None:
        return ()
    return tuple(_run(MAPPING_RULES, view, in_process(view.mapping.pid, vma.start)))


def _run(
    rules: Iterable[tuple[Rule, Callable[[_View], Shown | None]]], view: _View, where: Where
) -> Iterator[Finding]:
    for rule, check in rules:
        try:
            shown = check(view)
        except Exception as error:  # a bug in one rule must not lose the findings of the others
            yield RULE_BROKEN.finding(where, (("error", repr(error)),), rule=rule.id)
            continue
        if shown is not None:
            yield rule.finding(where, shown)
