# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports of ``kdump check`` and ``kdump verify``: a list of checks, each with what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pageproof.errors import Exit

KDUMP_SCHEMA: Final = "pageproof/kdump-1"


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Checked:
    """One check.

    Attributes:
        id: its name in reports.
        state: its result.
        found: what was found, in one sentence.
        remedy: what to do; "" for nothing. If the state is ok, something that is only advised.
        facts: names and values that the result depends on.
    """

    id: str
    state: State
    found: str
    remedy: str = ""
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class KdumpReport:
    """The checks of a machine or of a dump.

    Attributes:
        command: "check" or "verify".
        subject: the machine's name, or the dump's path.
        release: of the kernel; "" if unknown.
        checks: in their order.
        exit_code: 1 if a check is bad, else 3 if one is unknown or there is none, else 0.
    """

    schema: str
    version: str
    command: str
    subject: str
    release: str
    checks: tuple[Checked, ...]
    exit_code: int


def exit_of(checks: Iterable[Checked]) -> Exit:
    """Return the exit code of a report with these checks."""
    states = {one.state for one in checks}
    if State.BAD in states:
        return Exit.WRONG
    return Exit.SOUND if states == {State.OK} else Exit.UNDECIDED


def ok(name: str, found: str, remedy: str = "", **facts: object) -> Checked:
    """Return the result of a check that found nothing wrong; the facts are shown as text."""
    return Checked(name, State.OK, found, remedy, _texts(facts))


def bad(name: str, found: str, remedy: str, **facts: object) -> Checked:
    """Return the result of a check that found something wrong."""
    return Checked(name, State.BAD, found, remedy, _texts(facts))


def unknown(name: str, found: str, remedy: str = "", **facts: object) -> Checked:
    """Return the result of a check that could not be decided; ``found`` gives the reason."""
    return Checked(name, State.UNKNOWN, found, remedy, _texts(facts))


def _texts(facts: dict[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in facts.items())
