# SPDX-License-Identifier: GPL-2.0-or-later
"""Run checks. A check that fails, or that lacks a fact, is unknown and does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pageproof import __version__
from pageproof.errors import PageproofError
from pageproof.model.kdump import KDUMP_SCHEMA, Checked, KdumpReport, exit_of, unknown

_Facts = TypeVar("_Facts")


class NoFact(Exception):
    """Something about the machine or the dump cannot be found out; the message gives the reason.

    Attributes:
        remedy: what to do; "" if that is not known.
        is_absent: the file does not exist.
    """

    def __init__(self, reason: str, remedy: str = "", *, is_absent: bool = False) -> None:
        super().__init__(reason)
        self.remedy = remedy
        self.is_absent = is_absent


@dataclass(frozen=True)
class Check(Generic[_Facts]):
    """A check.

    Attributes:
        id: its name in reports.
        run: returns its result, which has this id.
    """

    id: str
    run: Callable[[_Facts], Checked]


def run_checks(checks: Sequence[Check[_Facts]], facts: _Facts) -> tuple[Checked, ...]:
    """Return the result of each check."""
    return tuple(_run(checks, facts))


def report_of(
    command: str, subject: str, release: str, checks: Sequence[Check[_Facts]], facts: _Facts
) -> KdumpReport:
    """Run checks and return their report (:class:`pageproof.model.kdump.KdumpReport`)."""
    results = run_checks(checks, facts)
    return KdumpReport(
        schema=KDUMP_SCHEMA,
        version=__version__,
        command=command,
        subject=subject,
        release=release,
        checks=results,
        exit_code=exit_of(results),
    )


def _run(checks: Iterable[Check[_Facts]], facts: _Facts) -> Iterator[Checked]:
    for check in checks:
        try:
            yield check.run(facts)
        except NoFact as error:
            yield unknown(check.id, str(error), error.remedy)
        except PageproofError as error:
            yield unknown(check.id, str(error))
        except Exception as error:  # a broken check must not lose the report
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            yield unknown(check.id, f"the check failed: {what}")
