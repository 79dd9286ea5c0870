# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof diff` against golden files; the order of lists makes no difference."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from unit.diffs import SOUND, busy, compare, rebooted, shuffled, whole
from unit.facts import LIVE, evidence, report, user_walk
from unit.golden import matches_golden

from pageproof.files.places import read_where
from pageproof.model import Finding, Severity
from pageproof.model.diff import DiffReport
from pageproof.render.jsonform import report_to_json
from pageproof.render.table import to_text

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "diff"


def test_the_order_of_lists_says_nothing() -> None:
    old, new = busy()
    wanted = compare(old, new)
    for seed in range(20):
        chance = random.Random(seed)
        assert compare(shuffled(old, chance), shuffled(new, chance)) == wanted
    assert wanted.summary.changes > 8


def test_with_itself_nothing_has_changed() -> None:
    for one in busy():
        assert compare(one, shuffled(one, random.Random(1))).summary.changes == 0


# Text


def crashed() -> DiffReport:
    """Only notes: content that the dump omits."""
    note = Finding(
        "content-unreadable", Severity.NOTE, read_where("page 0, pid 133"), "it could not be read"
    )
    return compare(replace(whole(SOUND), target=LIVE), whole(SOUND, findings=(note,)))


def boots() -> DiffReport:
    old, new = busy()
    return compare(old, rebooted(new))


def changed() -> DiffReport:
    old, new = busy()
    return compare(replace(old, target=LIVE), new)


def frames() -> DiffReport:
    """More frames than are shown one by one."""
    pages = range(12)
    moved = [evidence(page, user=user_walk(page, frame=(0x7_6543 + page) << 12)) for page in pages]
    return compare(report(*map(evidence, pages)), report(*moved))


MADE = [changed, crashed, boots, frames]


@pytest.mark.parametrize("make", MADE)
def test_golden(make: Callable[[], DiffReport]) -> None:
    matches_golden(GOLDEN / f"{make.__name__}.txt", to_text(make()))


def test_golden_json() -> None:
    matches_golden(GOLDEN / "changed.json", report_to_json(changed()))


def test_no_golden_file_is_left_over() -> None:
    wanted = {f"{make.__name__}.txt" for make in MADE} | {"changed.json"}
    assert {path.name for path in GOLDEN.iterdir()} == wanted


def test_colours_change_nothing_but_colour() -> None:
    assert "\033" not in to_text(changed())
    assert "\033[1;31mDIFFERENT\033[0m" in to_text(changed(), color=True)
