# SPDX-License-Identifier: GPL-2.0-or-later
"""What an audit of the whole system has to say."""

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
        looks_for: what is wrong where it fires, in a few words.
        checked: how many of ``unit`` were looked at.
        findings: how many there are, less the accepted ones; a report shows the first of many.
        accepted: how many the baseline accepts.
        reason: why it, or a part of what it looks at, could not be judged; "" if all was.
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
        outcomes: of the rules that were asked for, in their order.
        findings: worst first; of each rule the first ones.
        accepted: what the baseline accepts; it does not decide the exit code.
        attempts: how often was looked, because something moved.
        seconds: that it took, without the attachment.
        exit_code: 1 for an error, 3 if something could not be decided, else 0.
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
