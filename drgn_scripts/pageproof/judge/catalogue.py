# SPDX-License-Identifier: GPL-2.0-or-later
"""All rules by id, for ``explain``.

A condition that several commands can see is one rule (:mod:`pageproof.judge.conditions`), listed
here under each of them.
"""

from __future__ import annotations

from typing import Final

from pageproof.judge.alias import ALIAS_RULES
from pageproof.judge.audit import AUDIT_RULES
from pageproof.judge.conditions import TASK_UNREADABLE
from pageproof.judge.device import KERNEL_SIDE_BY_VALUE, KERNEL_SIDE_UNKNOWN, MAPPING_KIND
from pageproof.judge.kmap import MAP_RULES
from pageproof.judge.rules import RULES
from pageproof.judge.rules.coverage import COVERAGE_RULES, REGION_PART_UNKNOWN, REGION_UNREADABLE
from pageproof.judge.rules.protocol import UNSYNCHRONIZED
from pageproof.model.rule import Rule

#: The rules of each command, in the order in which they are shown.
CATALOGUE: Final[dict[str, tuple[Rule, ...]]] = {
    "verify": (*RULES, *COVERAGE_RULES, MAPPING_KIND, KERNEL_SIDE_UNKNOWN, KERNEL_SIDE_BY_VALUE),
    "regions": (REGION_UNREADABLE, REGION_PART_UNKNOWN, TASK_UNREADABLE),
    "alias": ALIAS_RULES,
    "kmap": MAP_RULES,
    "audit": AUDIT_RULES,
    "watch": (UNSYNCHRONIZED,),
}
#: Each rule once, by its id.
RULES_BY_ID: Final[dict[str, Rule]] = {
    rule.id: rule for rules in CATALOGUE.values() for rule in rules
}


def commands_of(rule: Rule) -> tuple[str, ...]:
    """Return the commands that can report a rule."""
    return tuple(command for command, rules in CATALOGUE.items() if rule in rules)
