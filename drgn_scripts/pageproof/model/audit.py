# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of an audit of the whole system."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pageproof.model.facts import PagingFacts, TargetFacts
from pageproof.model.report import Finding, Severity

AUDIT_SCHEMA: Final = "pageproof/audit-1"


class Ruling(StrEnum):
    """What became of a rule."""

    SOUND = "sound"
    FINDINGS = "findings"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class RuleOutcome:
    """What became of a rule.

    Attributes:
        rule: its id.
        severity: of its findings.
        looks_for: what it reports, in a few words.
        checked: how many of ``unit`` were examined.
        findings: number of findings, without the accepted ones; a report shows the first ones.
        accepted: number of findings that the baseline accepts.
        reason: why all or part of it could not be judged; "" if all was judged.
    """

    rule: str
    severity: Severity
    looks_for: str
    ruling: Ruling
    checked: int
    unit: str
    findings: int
    accepted: int
    reason: str


@dataclass(frozen=True)
class AuditReport:
    """An audit.

    Attributes:
        outcomes: of the selected rules, in their order.
        findings: worst first; the first ones of each rule.
        accepted: findings that the baseline accepts; they do not change the exit code.
        attempts: number of looks, more than one if something moved.
        seconds: duration without attaching.
        exit_code: 1 for an error, 3 if something is undecided, else 0.
    """

    schema: str
    version: str
    target: TargetFacts
    paging: PagingFacts
    outcomes: tuple[RuleOutcome, ...]
    findings: tuple[Finding, ...]
    accepted: tuple[Finding, ...]
    attempts: int
    seconds: float
    exit_code: int
