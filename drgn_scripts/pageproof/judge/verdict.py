# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict about one page: what two walks and two second opinions amount to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pageproof.judge.opinion import disputes
from pageproof.model import Outcome, PageEvidence, Reason, Verdict, Walk

#: Outcomes that name a frame for good. INVALIDATED names one too, but for a moment only.
_FRAMES: Final = frozenset({Outcome.MAPPED, Outcome.PROT_NONE})

#: In ``PageEvidence.damaged``: what keeps two frames from being told apart.
DAMAGED_FRAMES: Final = ("kernel frame", "user frame")

_REASONS: Final = {
    Outcome.NONE: Reason.NOT_PRESENT,
    Outcome.NON_CANONICAL: Reason.NOT_PRESENT,
    Outcome.GUARD_MARKER: Reason.NOT_PRESENT,
    Outcome.UFFD_WP_MARKER: Reason.NOT_PRESENT,
    Outcome.OTHER_MARKER: Reason.NOT_PRESENT,
    Outcome.SPECIAL: Reason.NOT_PRESENT,
    Outcome.RESERVED_BITS: Reason.DAMAGED,
    Outcome.DEVICE_PRIVATE: Reason.NOT_PRESENT,
    Outcome.SWAP: Reason.SWAPPED,
    Outcome.MIGRATION: Reason.TORN,
    Outcome.INVALIDATED: Reason.TORN,
    Outcome.HWPOISON: Reason.UNREADABLE,
    Outcome.POISON_MARKER: Reason.UNREADABLE,
    Outcome.UNREADABLE: Reason.UNREADABLE,
    Outcome.EXCLUDED: Reason.EXCLUDED,
    Outcome.ZERO_FILLED: Reason.ZERO_FILLED,
}


def names_frame(walk: Walk) -> bool:
    """True if the walk ended at a frame."""
    return walk.outcome in _FRAMES


def agree(before: Walk, after: Walk) -> bool:
    """True if two walks of one address say the same.

    Accessed and dirty bits come and go by themselves, and a table may be
    replaced by another that says the same: outcome, frame, permissions and
    memory type count.
    """
    return (
        before.outcome is after.outcome
        and before.paddr == after.paddr
        and before.permissions == after.permissions
        and before.memory_type == after.memory_type
        and before.swap_offset == after.swap_offset
    )


def compare(
    user: tuple[Outcome, int | None],
    kernel: tuple[Outcome, int | None],
    is_nowhere: Callable[[int], bool] = lambda paddr: False,
) -> tuple[Verdict, Reason | None]:
    """The verdict from where two walks ended alone.

    Args:
        user, kernel: outcome, and the frame's address.
        is_nowhere: of a frame's address: no memory and no device has it.
    """
    missing = _missing(kernel[0], user[0])
    if missing is not None:
        _, reason = missing
        return Verdict.UNKNOWN, reason
    if kernel[1] == user[1]:
        return Verdict.SAME, None
    if any(paddr is not None and is_nowhere(paddr) for _, paddr in (user, kernel)):
        return Verdict.UNKNOWN, Reason.DAMAGED
    return Verdict.DIFFERENT, None


def _missing(kernel: Outcome, user: Outcome) -> tuple[str, Reason] | None:
    """Which side has no frame to compare, and why, if so; what is not known comes first."""
    if kernel not in _FRAMES and _REASONS[kernel] is not Reason.NOT_PRESENT:
        return "kernel", _REASONS[kernel]
    if user not in _FRAMES:
        return "user", _REASONS[user]
    return None if kernel in _FRAMES else ("kernel", Reason.NO_KERNEL_SIDE)


def judge_page(evidence: PageEvidence) -> tuple[Verdict, Reason | None, str]:
    """The verdict, for UNKNOWN its reason, and one sentence."""
    kernel, user = evidence.kernel_walk, evidence.user_walk
    if not evidence.stable:
        return (
            Verdict.UNKNOWN,
            Reason.TORN,
            "the mapping changed or went away while it was looked at "
            f"({evidence.attempts} {'attempt' if evidence.attempts == 1 else 'attempts'})",
        )
    missing = _missing(kernel.outcome, user.outcome)
    if missing is not None:
        side, reason = missing
        walk = kernel if side == "kernel" else user
        return Verdict.UNKNOWN, reason, f"the {side} side has no frame: {walk.detail}"
    for side, walk, second in (
        ("kernel", kernel, evidence.kernel_second),
        ("user", user, evidence.user_second),
    ):
        if disputes(walk, second):
            return (
                Verdict.UNKNOWN,
                Reason.DISPUTED,
                f"our walk and drgn's translation of the {side} address disagree",
            )
    if kernel.paddr is not None and kernel.paddr == user.paddr:
        return Verdict.SAME, None, "both addresses lead to the same frame"
    for what, why in evidence.damaged:
        if what in DAMAGED_FRAMES:
            return Verdict.UNKNOWN, Reason.DAMAGED, f"the {what} cannot be: {why}"
    return Verdict.DIFFERENT, None, "the two addresses lead to different frames"
