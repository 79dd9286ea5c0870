# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict about one page, from two walks and two second opinions."""

from __future__ import annotations

from typing import Final

from pageproof.model import PageEvidence, Reason, Verdict
from pageproof.walk.compare import missing_side

#: In ``PageEvidence.damaged``: damage that prevents a comparison of the frames.
DAMAGED_FRAMES: Final = ("kernel frame", "user frame")


def judge_page(evidence: PageEvidence) -> tuple[Verdict, Reason | None, str]:
    """Return the verdict, the reason for UNKNOWN, and one sentence."""
    kernel, user = evidence.kernel_walk, evidence.user_walk
    if not evidence.stable:
        return (
            Verdict.UNKNOWN,
            Reason.TORN,
            "the mapping changed or went away while it was read "
            f"({evidence.attempts} {'attempt' if evidence.attempts == 1 else 'attempts'})",
        )
    missing = missing_side(kernel.outcome, user.outcome)
    if missing is not None:
        side, reason = missing
        walk = kernel if side == "kernel" else user
        return Verdict.UNKNOWN, reason, f"the {side} side has no frame: {walk.detail}"
    for side, second in (("kernel", evidence.kernel_second), ("user", evidence.user_second)):
        if second.contradicts:
            return (
                Verdict.UNKNOWN,
                Reason.DISPUTED,
                f"our walk and drgn's translation of the {side} address disagree",
            )
    if kernel.paddr is not None and kernel.paddr == user.paddr:
        return Verdict.SAME, None, "both addresses lead to the same frame"
    for what, why in evidence.damaged:
        if what in DAMAGED_FRAMES:
            return Verdict.UNKNOWN, Reason.DAMAGED, f"the {what} is impossible: {why}"
    return Verdict.DIFFERENT, None, "the two addresses lead to different frames"
