# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof alias` against golden files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.commandfacts import alias_report
from unit.facts import mapping
from unit.golden import matches_golden
from unit.schemas import fits_schema

from pageproof.files.places import read_where
from pageproof.model import (
    Finding,
    Severity,
)
from pageproof.model.alias import AliasReport
from pageproof.render.drgn.alias import alias_to_drgn
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "commands"


def torn_alias() -> AliasReport:
    """A frame given by its number, without a struct page, while mappings change."""
    gap = Finding("incomplete", Severity.NOTE, read_where("pid 182"), "mappings may be missing")
    whole = alias_report()
    return replace(
        whole,
        walk=None,
        asked="2157",
        page=None,
        users=(replace(whole.users[0], process=replace(mapping(), vma=None)),),
        findings=(gap,),
        attempts=5,
        stable=False,
        exit_code=3,
    )


FILES: dict[str, Callable[[], str]] = {
    "alias.txt": lambda: to_text(alias_report()),
    "alias-torn.txt": lambda: to_text(torn_alias()),
    "alias.json": lambda: report_to_json(alias_report()),
    "alias.drgn": lambda: alias_to_drgn(alias_report()),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.name.startswith("alias")} == set(FILES)


@pytest.mark.parametrize("code", [name for name in FILES if name.endswith(".drgn")])
def test_code_for_drgn_compiles(code: str) -> None:
    compile(FILES[code](), code, "exec")


@pytest.mark.parametrize(
    "report",
    [
        alias_report(),
        torn_alias(),
    ],
)
def test_json_fits_the_schema(report: Any) -> None:
    fits_schema("alias-1.json", report)
