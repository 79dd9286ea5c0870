# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks on each target of the bug lab."""

import pytest
from buglab import BUGS, SAME, Bug
from plugins.bugs import SLOTS, Bugged, Results

each_bug = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)


def check_bug(results: Results, bugged: Bugged, bug: Bug) -> None:
    """Check that exactly this bug is found in its case, and nothing in its twin."""
    twin = bugged.cases[bug.name, True]
    assert results.devices.verdicts(twin) == bug.twin
    assert results.devices.findings(twin, ("error", "warning")) == set()
    if bug.name in bugged.refused:
        return
    made = bugged.cases[bug.name, False]
    assert results.devices.verdicts(made) == bug.verdicts
    found = results.devices.findings(made, ("error", "warning"))
    reported = results.devices.findings(made, ("error", "warning", "note"))
    assert reported & bug.rules, f"missed: {sorted(bug.rules)}; found {sorted(reported)}"
    assert found <= bug.rules | bug.also


def check_nothing_else(results: Results, bugged: Bugged) -> None:
    """Check that nothing is found outside the cases."""
    assert results.devices.of_nobody(bugged.cases.values()) == []


def check_slots(results: Results) -> None:
    """Check that in each slot of umh_shm exactly the field that was broken is found."""
    found: dict[int, set[str]] = {}
    for proof in results.slots["proofs"]:
        page: int = proof["evidence"]["page_index"]
        wrong = {one["id"] for one in proof["findings"] if one["severity"] != "note"}
        found.setdefault(page, set()).update(wrong)
        assert proof["verdict"] == SAME
    expected = {page: {slot.rule} - {""} for page, slot in SLOTS.items()}
    assert found == {0: set(), **expected}
