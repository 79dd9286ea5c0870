# SPDX-License-Identifier: GPL-2.0-or-later
"""What a rule is: one thing that can be wrong, and all that is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass

from pageproof.model.report import Finding, Severity
from pageproof.model.where import Where

#: What was seen, as a finding shows it: pairs of a name and a value.
Shown = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong; how it is looked for stands beside it.

    Attributes:
        id: its name in reports and on the command line.
        severity: of its findings.
        sentence: what is wrong, and what follows from it; ``{words}`` are a finding's own.
        cause: how such a thing comes about.
        fix: what mends it, usually.
        reference: where the kernel, a manual or a report tells more.
    """

    id: str
    severity: Severity
    sentence: str
    cause: str
    fix: str
    reference: str

    def finding(self, where: Where, shown: Shown = (), **words: object) -> Finding:
        """A finding of this rule.

        Args:
            where: the place.
            shown: the evidence.
            words: for the sentence.
        """
        sentence = self.sentence.format(**words) if words else self.sentence
        return Finding(self.id, self.severity, where, sentence, shown)
