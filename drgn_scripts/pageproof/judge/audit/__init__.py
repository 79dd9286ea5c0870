# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of an audit of the whole system."""

from __future__ import annotations

from typing import Final

from pageproof.judge.audit import frames, kernelhalf, physmap, rights, tables, users, vmalloc
from pageproof.judge.audit.check import Check
from pageproof.model.rule import Rule

#: All checks, in the order of the report.
CHECKS: Final[tuple[Check, ...]] = (
    *kernelhalf.CHECKS,
    *rights.CHECKS,
    *physmap.CHECKS,
    *vmalloc.CHECKS,
    *users.CHECKS,
    *frames.CHECKS,
    *tables.CHECKS,
)

#: Their rules, for ``explain``.
AUDIT_RULES: Final[tuple[Rule, ...]] = tuple(check.rule for check in CHECKS)
