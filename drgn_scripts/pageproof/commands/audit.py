# SPDX-License-Identifier: GPL-2.0-or-later
"""``audit``: collect the facts of the whole system, run the rules, look again if data changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from pageproof import __version__
from pageproof.attach import Target
from pageproof.attach.looks import new_look
from pageproof.find.kernel.paging import read_paging
from pageproof.judge.audit.check import Check
from pageproof.judge.audit.engine import (
    Result,
    exit_code,
    is_clean,
    needs_of,
    of_a_torn_image,
    outcome_of,
    run_check,
    standing,
    worst_first,
)
from pageproof.model.audit import AUDIT_SCHEMA, AuditReport
from pageproof.model.where import Where
from pageproof.observe.attempts import ATTEMPTS, PAUSE_SECONDS
from pageproof.observe.audit.facts import Collector
from pageproof.observe.walkers import walker_of


def audit(
    target: Target,
    checks: Sequence[Check],
    accepted: Mapping[str, Collection[Where]],
    progress: Callable[[str], None],
) -> AuditReport:
    """Run checks over the whole system.

    On a live target a rule that finds something is asked again: what only one
    of two looks saw has moved, and is no fault of the kernel.

    Args:
        target: an attached target.
        checks: in the order of the report.
        accepted: findings of a baseline: places by rule.
        progress: called with a message at each step.
    """
    start = time.monotonic()
    paging = read_paging(target.prog)
    walker = walker_of(target, paging, progress=progress)

    def look(some: Sequence[Check]) -> dict[str, Result]:
        new_look()
        facts = Collector(target, paging, walker, progress).collect(needs_of(some))
        progress("judging")
        return {check.rule.id: run_check(check, facts) for check in some}

    last = look(checks)
    results = dict(last)
    attempts = 1
    doubtful = [check for check in checks if not is_clean(results[check.rule.id])]
    while target.facts.live and doubtful and attempts < ATTEMPTS:
        time.sleep(PAUSE_SECONDS)
        attempts += 1
        again = look(doubtful)
        settled = True
        for name, result in again.items():
            results[name] = standing(last[name], result)
            settled = settled and _alike(results[name], result) and not result.judged.undecided
        last = again
        doubtful = [check for check in doubtful if not is_clean(results[check.rule.id])]
        if settled:
            break
    if target.facts.may_be_torn:
        results = {name: of_a_torn_image(result) for name, result in results.items()}
    told = [outcome_of(results[check.rule.id], accepted) for check in checks]
    outcomes = tuple(outcome for outcome, _, _ in told)
    return AuditReport(
        schema=AUDIT_SCHEMA,
        version=__version__,
        target=target.facts,
        paging=paging,
        outcomes=outcomes,
        findings=worst_first(finding for _, new, _ in told for finding in new),
        accepted=worst_first(finding for _, _, old in told for finding in old),
        attempts=attempts,
        seconds=round(time.monotonic() - start, 3),
        exit_code=exit_code(outcomes),
    )


def _alike(one: Result, other: Result) -> bool:
    def places(result: Result) -> set[Where]:
        return {finding.where for finding in result.judged.findings}

    return places(one) == places(other)
