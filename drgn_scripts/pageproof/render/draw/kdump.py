# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of a machine or of a dump: a row for each, and below it what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pageproof.model.kdump import Checked, KdumpReport, State
from pageproof.render import styles
from pageproof.render.draw.common import FOLDED, columns
from pageproof.render.sheet import Cell, Sheet, styled
from pageproof.render.styles import LABEL

_STYLES: Final = {State.OK: styles.GOOD, State.BAD: styles.BAD, State.UNKNOWN: styles.DOUBT}


def draw_kdump(report: KdumpReport, sheet: Sheet) -> None:
    """Draw the subject, each check, and the sum."""
    what = "machine" if report.command == "check" else "dump"
    sheet.facts([(what, report.subject), ("kernel", f"Linux {report.release or 'unknown'}")])
    sheet.gap()
    first: dict[str, str] = {}
    rows = [row for one in report.checks for row in _rows(one, first, verbose=sheet.verbose)]
    sheet.table(columns(2, FOLDED), rows)
    sheet.gap()
    sheet.line(_sum(report), style=styles.of_exit(report.exit_code))


def _rows(one: Checked, first: dict[str, str], *, verbose: bool) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of a check; ``first`` has the check that showed a remedy first."""
    yield styled(one.state.value, style=_STYLES[one.state]), one.id, one.found
    if one.remedy:
        before = first.setdefault(one.remedy, one.id)
        what = one.remedy if before == one.id else f"as for {before}"
        yield "", "", styled(("do: ", LABEL), what)
    if verbose:
        for name, value in one.facts:
            yield "", "", styled(f"{name}: {value}", style=LABEL)


def _sum(report: KdumpReport) -> str:
    counts = {state: sum(one.state is state for one in report.checks) for state in State}
    parts = [f"{counts[state]} {state.value}" for state in State if counts[state]]
    return ", ".join(parts)
