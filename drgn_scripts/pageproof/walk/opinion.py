# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing drgn's translation of an address with our walk. Silence is not a contradiction."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pageproof.model import GAPS, Answer, Outcome, SecondOpinion, Walk

#: Entries that name a frame although PRESENT is clear.
_CLOSED: Final = frozenset({Outcome.PROT_NONE, Outcome.INVALIDATED})
#: Entries that are about to change. They may name a frame when drgn reads them.
_MOVING: Final = frozenset({Outcome.INVALIDATED, Outcome.MIGRATION})


def weigh(walk: Walk, second: SecondOpinion) -> SecondOpinion:
    """Add the answer to a second opinion, unless drgn was silent from the start.

    Args:
        walk: ours, of the same address in the same tables.
        second: from :func:`pageproof.find.frame.opinion.second_opinion`.
    """
    if second.answer is not None:
        return second
    answer, silence = _answer(walk, second)
    return replace(second, answer=answer, silence=silence)


def disputes(walk: Walk, second: SecondOpinion) -> bool:
    """Return whether drgn's translation contradicts ours."""
    return weigh(walk, second).contradicts


def _answer(walk: Walk, second: SecondOpinion) -> tuple[Answer, str]:
    """Return the answer and, if it is silence, its reason.

    drgn 0.3.0 translates only present entries, treats the leaf bit as a leaf on every level, and
    does not check reserved bits (its libdrgn/arch_x86_64.c).
    """
    if second.pfn is not None and second.pfn == walk.pfn:
        return Answer.AGREES, ""
    if walk.outcome in GAPS:
        # drgn may read the zeros of a dump as entries.
        return Answer.SILENT, "there is nothing to compare: our walk could not read a table"
    if second.pfn is None:
        if walk.outcome in _CLOSED:
            return Answer.SILENT, "drgn translates no entry without PRESENT"
        return (Answer.CONTRADICTS if walk.outcome is Outcome.MAPPED else Answer.AGREES), ""
    if walk.outcome is Outcome.RESERVED_BITS:
        return Answer.SILENT, "drgn does not check reserved bits"
    if walk.outcome in _MOVING:
        return Answer.SILENT, "the entry was about to change"
    return Answer.CONTRADICTS, ""
