# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two reports of audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pageproof.model.audit import RuleOutcome
from pageproof.model.diff import Difference, FindingChange
from pageproof.model.facts import TargetFacts

AUDIT_DIFF_SCHEMA: Final = "pageproof/auditdiff-1"


@dataclass(frozen=True)
class AuditSummary:
    """A report in numbers.

    Attributes:
        rules: that were asked for.
        undecided: of these, how many could not be judged, or not wholly.
        errors, warnings, notes: findings, less the accepted ones.
        accepted: findings that its baseline accepts.
    """

    rules: int
    undecided: int
    errors: int
    warnings: int
    notes: int
    accepted: int
    exit_code: int


@dataclass(frozen=True)
class ComparedAudit:
    """One of the two reports.

    Attributes:
        path: where it was read.
        version: of the pageproof that wrote it.
    """

    path: str
    version: str
    target: TargetFacts
    summary: AuditSummary


@dataclass(frozen=True)
class RuleChange:
    """A rule that only one report has, or could decide, or that lost a finding undecided.

    Attributes:
        old, new: None where that report was not asked for it.
    """

    rule: str
    old: RuleOutcome | None
    new: RuleOutcome | None


@dataclass(frozen=True)
class AuditDiffSummary:
    """What the exit code comes from.

    Attributes:
        compared: rules that both reports have.
        undecided: rules that were decided and are not now, or of which a finding is not seen any
            more but nothing says that it is gone.
        new_errors: findings.
        changes: entries of all lists.
    """

    compared: int
    undecided: int
    new_errors: int
    changes: int
    exit_code: int


@dataclass(frozen=True)
class AuditDiffReport:
    """What diff has to say of audits.

    Attributes:
        boot: as in ``DiffReport``: if there is any, findings are compared by their id.
        rules: what became undecided first.
        findings: what is new or gone. Gone is what a rule that was decided does not find; new is
            nothing that a baseline accepts. Where a report counts more findings of a rule than it
            shows, their places can't be compared: their number is, and ``where`` is "".
    """

    schema: str
    version: str
    old: ComparedAudit
    new: ComparedAudit
    boot: tuple[Difference, ...]
    rules: tuple[RuleChange, ...]
    findings: tuple[FindingChange, ...]
    summary: AuditDiffSummary
