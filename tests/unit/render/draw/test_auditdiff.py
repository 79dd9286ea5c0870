# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof diff` of two audits against golden files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from unit.golden import matches_golden
from unit.judge.test_diff_audit import busy, compare, rebooted

from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "auditdiff"


FILES: dict[str, Callable[[], str]] = {
    "changed.txt": lambda: to_text(compare(*busy())),
    "changed.json": lambda: report_to_json(compare(*busy())),
    "boots.txt": lambda: to_text(compare(busy()[0], rebooted(busy()[1]))),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    matches_golden(GOLDEN / name, FILES[name]())


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(FILES)


def test_colours_change_nothing_but_colour() -> None:
    found = compare(*busy())
    assert "\033" not in to_text(found)
    assert "\033[1;33munknown\033[0m" in to_text(found, color=True)
