# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing two walks: of one address at two times, or of two addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pageproof.model import Outcome, Reason, Verdict, Walk

#: Outcomes that name a frame. INVALIDATED names one too, but only for a moment.
_FRAMES: Final = frozenset({Outcome.MAPPED, Outcome.PROT_NONE})

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


def is_compared(outcome: Outcome) -> bool:
    """Return whether an outcome names a frame that can be compared."""
    return outcome in _FRAMES


def names_frame(walk: Walk) -> bool:
    """Return whether the walk ended at a frame."""
    return walk.outcome in _FRAMES


def agree(before: Walk, after: Walk) -> bool:
    """Return whether two walks of one address have the same result.

    Outcome, frame, permissions and memory type count. Accessed and dirty bits change by themselves,
    and a table may be replaced by another one with the same entries.
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
    """Return the verdict from the ends of two walks alone.

    Args:
        user, kernel: outcome, and the frame's physical address.
        is_nowhere: returns whether no memory and no device has a physical address.
    """
    missing = missing_side(kernel[0], user[0])
    if missing is not None:
        _, reason = missing
        return Verdict.UNKNOWN, reason
    if kernel[1] == user[1]:
        return Verdict.SAME, None
    if any(paddr is not None and is_nowhere(paddr) for _, paddr in (user, kernel)):
        return Verdict.UNKNOWN, Reason.DAMAGED
    return Verdict.DIFFERENT, None


def missing_side(kernel: Outcome, user: Outcome) -> tuple[str, Reason] | None:
    """Return the side that has no frame to compare, and why; an unknown end comes first."""
    if kernel not in _FRAMES and _REASONS[kernel] is not Reason.NOT_PRESENT:
        return "kernel", _REASONS[kernel]
    if user not in _FRAMES:
        return "user", _REASONS[user]
    return None if kernel in _FRAMES else ("kernel", Reason.NO_KERNEL_SIDE)
