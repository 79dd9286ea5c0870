# SPDX-License-Identifier: GPL-2.0-or-later
"""What an address is: one small function for each thing that it may be.

Each function answers one question with facts or None. They run independently: an error in one does
not keep the others from answering.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import drgn

from pageproof import arch
from pageproof.find.identify.drgns import drgn_identities
from pageproof.find.identify.memory import find_page_struct, find_slab, find_vmap
from pageproof.find.identify.percpu import find_per_cpu
from pageproof.find.identify.place import Missing, Place
from pageproof.find.identify.shadow import find_shadow
from pageproof.find.identify.symbols import find_module, find_symbol
from pageproof.model import MemoryGap, Outcome
from pageproof.model.whatis import Identity, Unknown

#: Returns facts of one kind, or None if the address is not of that kind.
Question = Callable[[Place], Any]

#: By the field of :class:`~pageproof.model.whatis.Identity` that the answer fills.
QUESTIONS: Final[tuple[tuple[str, Question], ...]] = (
    ("symbol", find_symbol),
    ("module", find_module),
    ("slab", find_slab),
    ("vmap", find_vmap),
    ("per_cpu", find_per_cpu),
    ("page_struct", find_page_struct),
)


def questions_of(prog: drgn.Program) -> tuple[tuple[str, Question], ...]:
    """Return all questions for a target, those of its architecture included."""
    return (*QUESTIONS, *arch.of_program(prog).area_questions(), ("shadow", find_shadow))


def identify(
    place: Place, questions: tuple[tuple[str, Question], ...] | None = None
) -> tuple[Identity, tuple[Unknown, ...]]:
    """Ask all questions about an address, and drgn.

    Returns:
        The answers, and the questions that could not be answered.
    """
    identity = Identity()
    unknown: list[Unknown] = []
    for name, question in questions_of(place.prog) if questions is None else questions:
        try:
            found = question(place)
        except BROKEN as error:
            unknown.append(unanswered(name, error))
        else:
            identity = replace(identity, **{name: found})
    words, task, ended_by = drgn_identities(place)
    if ended_by is not None:
        unknown.append(unanswered("drgn", ended_by))
    return replace(identity, drgn=words, task=task), tuple(unknown)


#: Errors that a question may raise: unreadable memory, invalid data, and names that
#: this kernel does not have (LookupError, AttributeError).
BROKEN: Final = (
    Missing,
    MemoryGap,
    drgn.FaultError,
    drgn.ObjectAbsentError,
    ValueError,
    NotImplementedError,
    LookupError,
    AttributeError,
)


def unanswered(question: str, error: Exception) -> Unknown:
    """Return the question that an error left unanswered, with the reason."""
    if isinstance(error, MemoryGap):
        return Unknown(question, error.outcome, str(error))
    if isinstance(error, drgn.FaultError):
        return Unknown(question, MemoryGap.from_fault(error).outcome, str(error))
    text = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
    return Unknown(question, Outcome.UNREADABLE, text or type(error).__name__)


__all__ = [
    "BROKEN",
    "QUESTIONS",
    "Missing",
    "Place",
    "Question",
    "identify",
    "questions_of",
    "unanswered",
]
