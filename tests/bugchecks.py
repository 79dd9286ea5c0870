# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks on each target of the bug lab."""

import pytest
from buglab import BUGS, SAME, Bug
from plugins.bugs import SLOTS, Bugged, Looked

each_bug = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)


def look(looked: Looked, bugged: Bugged, bug: Bug) -> None:
    """Check that exactly this bug is found in its case, and nothing in its twin."""
    twin = bugged.cases[bug.name, True]
    assert looked.devices.verdicts(twin) == bug.twin
    assert looked.devices.findings(twin, ("error", "warning")) == set()
    if bug.name in bugged.refused:
        return
    made = bugged.cases[bug.name, False]
    assert looked.devices.verdicts(made) == bug.verdicts
    found = looked.devices.findings(made, ("error", "warning"))
    told = looked.devices.findings(made, ("error", "warning", "note"))
    assert told & bug.rules, f"missed: {sorted(bug.rules)}; found {sorted(told)}"
    assert found <= bug.rules | bug.also


def nothing_else(looked: Looked, bugged: Bugged) -> None:
    """Check that nothing is found outside the cases."""
    assert looked.devices.of_nobody(bugged.cases.values()) == []


def slots(looked: Looked) -> None:
    """Check that in each slot of umh_shm exactly the field that was broken is found."""
    found: dict[int, set[str]] = {}
    for proof in looked.slots["proofs"]:
        page: int = proof["evidence"]["page_index"]
        wrong = {one["id"] for one in proof["findings"] if one["severity"] != "note"}
        found.setdefault(page, set()).update(wrong)
        assert proof["verdict"] == SAME
    expected = {page: {slot.rule} - {""} for page, slot in SLOTS.items()}
    assert found == {0: set(), **expected}
