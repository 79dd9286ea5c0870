# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of two reports of audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pageproof.model.audit import RuleOutcome
from pageproof.model.diff import Difference, FindingChange
from pageproof.model.facts import TargetFacts

AUDIT_DIFF_SCHEMA: Final = "pageproof/auditdiff-1"


@dataclass(frozen=True)
class AuditSummary:
    """The counts of a report.

    Attributes:
        rules: number of selected rules.
        undecided: number of these that could not be judged completely.
        errors, warnings, notes: findings, without the accepted ones.
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
    """A rule that only one report has or decided, or whose finding disappeared without a decision.

    Attributes:
        old, new: None if that report does not have the rule.
    """

    rule: str
    old: RuleOutcome | None
    new: RuleOutcome | None


@dataclass(frozen=True)
class AuditDiffSummary:
    """The counts that decide the exit code.

    Attributes:
        compared: rules that both reports have.
        undecided: rules that were decided and are not now, or that no longer report a finding but
            did not decide that it is gone.
        new_errors: number of new findings that are errors.
        changes: number of entries in all lists.
    """

    compared: int
    undecided: int
    new_errors: int
    changes: int
    exit_code: int


@dataclass(frozen=True)
class AuditDiffReport:
    """The comparison of two audits.

    Attributes:
        boot: as in ``DiffReport``; if it is not empty, findings are compared by their id.
        rules: changed rules; those that became undecided come first.
        findings: new and gone findings. A finding is gone if its rule was decided and does not
            report it. A finding that the baseline accepts is not new. If a report counts more
            findings of a rule than it shows, only their number is compared, and ``where`` is "".
    """

    schema: str
    version: str
    old: ComparedAudit
    new: ComparedAudit
    boot: tuple[Difference, ...]
    rules: tuple[RuleChange, ...]
    findings: tuple[FindingChange, ...]
    summary: AuditDiffSummary
