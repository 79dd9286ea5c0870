# SPDX-License-Identifier: GPL-2.0-or-later
"""Every rule there is, by its id: what ``explain`` tells."""

from __future__ import annotations

from typing import Final

from pageproof.judge.alias import ALIAS_RULES
from pageproof.judge.audit import AUDIT_RULES
from pageproof.judge.device import KERNEL_SIDE_UNKNOWN, MAPPING_KIND
from pageproof.judge.kmap import MAP_RULES
from pageproof.judge.rules import RULES
from pageproof.judge.rules.coverage import COVERAGE_RULES
from pageproof.model.rule import Rule

#: The rules of each command, in the order in which they are told.
CATALOGUE: Final[dict[str, tuple[Rule, ...]]] = {
    "verify": (*RULES, *COVERAGE_RULES, MAPPING_KIND, KERNEL_SIDE_UNKNOWN),
    "alias": ALIAS_RULES,
    "kmap": MAP_RULES,
    "audit": AUDIT_RULES,
}
