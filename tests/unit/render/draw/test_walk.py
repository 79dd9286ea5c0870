# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof walk` against golden files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.commandfacts import kernel_report, user_report
from unit.facts import PAGING, lost_walk, user_walk
from unit.golden import matches_golden
from unit.schemas import fits_schema

from pageproof.model import (
    Answer,
    Outcome,
    Permissions,
    SecondOpinion,
    TableSet,
    Walk,
)
from pageproof.render.drgn.walk import walk_to_drgn
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "commands"


def prot_none() -> Walk:
    access = Permissions(write=True, execute=False, user=True, access=False)
    return replace(
        user_walk(),
        outcome=Outcome.PROT_NONE,
        permissions=access,
        detail="PTE entry 176 of the table at 0x2aa3a000 is prot-none",
    )


def swapped() -> Walk:
    return replace(lost_walk(Outcome.SWAP), swap_type=0, swap_offset=4711)


FILES: dict[str, Callable[[], str]] = {
    "walk-kernel.txt": lambda: to_text(kernel_report()),
    "walk-kernel.json": lambda: report_to_json(kernel_report()),
    "walk-kernel.drgn": lambda: walk_to_drgn(kernel_report()),
    "walk-user-verbose.txt": lambda: to_text(user_report(), verbose=True),
    "walk-user.drgn": lambda: walk_to_drgn(user_report()),
    "walk-swapped.txt": lambda: to_text(user_report(swapped())),
    "walk-prot-none.txt": lambda: to_text(user_report(prot_none())),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.name.startswith("walk")} == set(FILES)


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.MAPPED])
def test_every_end_of_a_walk_is_explained(outcome: Outcome) -> None:
    if outcome is Outcome.NON_CANONICAL:
        return  # an error before the walk
    text = to_text(user_report(lost_walk(outcome)))
    (means,) = (row for row in text.splitlines() if row.startswith("means"))
    assert len(means) > len("means    x")


def test_a_dispute_is_told() -> None:
    contrary = SecondOpinion(0x1000, 1, answer=Answer.CONTRADICTS)
    other = replace(kernel_report(), second=contrary, disputed=True, exit_code=3)
    assert "PFN 0x1, DISAGREES" in to_text(other)
    lost = user_report(lost_walk(Outcome.NONE))
    lost = replace(lost, second=contrary, disputed=True)
    assert "PFN 0x1, DISAGREES" in to_text(lost)


def test_silence_is_told_with_its_reason() -> None:
    faulted = SecondOpinion(None, None, "could not find it", Answer.SILENT, "it is blind")
    assert "silent: it is blind (could not find it)" in to_text(
        replace(kernel_report(), second=faulted)
    )
    named = SecondOpinion(0x1000, 1, "", Answer.SILENT, "it is blind")
    assert "silent: it is blind (PFN 0x1)" in to_text(replace(kernel_report(), second=named))


def test_the_kernels_half_of_pti_is_told() -> None:
    """PTI sets NX for the whole user half of this table, whatever the mapping."""
    isolated = replace(user_report(), paging=replace(PAGING, pti=True))
    assert "not executable; --user-tables" in to_text(isolated)
    half = replace(isolated, tables=TableSet.PROCESS_USER, second=None)
    assert "--user-tables" not in to_text(half)
    assert "--user-tables" not in to_text(user_report())


def test_what_moved_is_told() -> None:
    torn = replace(kernel_report(), stable=False, attempts=5, exit_code=3)
    assert "kept changing while it was read (5 attempts)" in to_text(torn)


@pytest.mark.parametrize("code", [name for name in FILES if name.endswith(".drgn")])
def test_code_for_drgn_compiles(code: str) -> None:
    compile(FILES[code](), code, "exec")


def test_what_the_user_typed_stays_a_comment() -> None:
    text = walk_to_drgn(replace(kernel_report(), asked="x\nimport os"))
    assert "\nimport os" not in text


def test_drgn_has_no_way_into_the_user_half() -> None:
    half = replace(user_report(), tables=TableSet.PROCESS_USER, second=None)
    assert "follow_phys(mm" not in walk_to_drgn(half)
    assert "follow_phys(mm" in walk_to_drgn(user_report())


@pytest.mark.parametrize(
    "report",
    [
        kernel_report(),
        user_report(),
        user_report(swapped()),
        replace(user_report(), second=None, page=None),
    ],
)
def test_json_fits_the_schema(report: Any) -> None:
    fits_schema("walk-1.json", report)
