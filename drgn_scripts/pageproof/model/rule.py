# SPDX-License-Identifier: GPL-2.0-or-later
"""A rule: one thing that can be wrong, with its texts."""

from __future__ import annotations

from dataclasses import dataclass

from pageproof.model.report import Finding, Severity
from pageproof.model.where import Where

#: Evidence of a finding: pairs of a name and a value.
Shown = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong. The function that checks it is defined beside it.

    Attributes:
        id: its name in reports and on the command line.
        severity: of its findings.
        sentence: what is wrong, and its consequence; each finding fills in its ``{words}``.
        cause: the likely cause.
        fix: the usual fix.
        reference: where to read more: kernel file, manual section or report.
    """

    id: str
    severity: Severity
    sentence: str
    cause: str
    fix: str
    reference: str

    def finding(self, where: Where, shown: Shown = (), **words: object) -> Finding:
        """Return a finding of this rule.

        Args:
            where: the place.
            shown: the evidence.
            words: values for the sentence.
        """
        sentence = self.sentence.format(**words) if words else self.sentence
        return Finding(self.id, self.severity, where, sentence, shown)
