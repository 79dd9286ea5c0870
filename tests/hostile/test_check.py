# SPDX-License-Identifier: GPL-2.0-or-later
"""What counts as a wrong end of a case, on hand-made outcomes; and cases that repeat."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostile.cases import case
from hostile.check import wrong
from hostile.run import CPU_SECONDS, MEMORY_BYTES, Outcome

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MESSAGE = "pageproof: error: the dump is damaged\n"


def outcome(code: int = 2, out: str = "", err: str = MESSAGE) -> Outcome:
    return Outcome(code, out, err, 0.1, 0.1, 50 << 20)


def report(verdict: str, error: str = "") -> str:
    """Return a report of verify in which all pages have a verdict."""
    made: dict[str, Any] = json.loads((GOLDEN / "several.json").read_text())
    for region in made["regions"]:
        for use in region["uses"]:
            for run in use["runs"]:
                run["verdict"] = verdict
    for proof in made["proofs"]:
        proof["verdict"] = verdict
    made["findings"] = [{"id": error, "severity": "error"}] if error else []
    return json.dumps(made)


SOUND = outcome(0, report("SAME"), "")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (outcome(-11), "signal 11"),
        (outcome(-24), "signal 24"),
        (outcome(70, err="pageproof: error: this is a bug in pageproof: X"), "traceback"),
        (outcome(2, err="Traceback (most recent call last):"), "traceback"),
        (outcome(5), "exit code 5"),
        (outcome(2, err="usage"), "without a message"),
        (outcome(2, err=MESSAGE + "\x1b[2J"), "unprintable"),
        (replace(outcome(), peak_bytes=MEMORY_BYTES + 1), "MiB of memory"),
        (replace(outcome(), cpu_seconds=CPU_SECONDS + 1.0), "s of CPU time"),
        (outcome(0, '{"cut', ""), "not JSON"),
        (outcome(1, report("DIFFERENT"), ""), "false words"),
        (outcome(1, report("SAME", "shares-slab"), ""), "false words"),
    ],
)
def test_wrong(end: Outcome, message: str) -> None:
    said = wrong(end, SOUND, strict=True)
    assert said is not None and message in said


def test_a_false_same_of_damaged_memory() -> None:
    sound = outcome(3, report("UNKNOWN"), "")
    said = wrong(outcome(0, report("SAME"), ""), sound, strict=False)
    assert said is not None and "SAME" in said
    assert wrong(outcome(1, report("DIFFERENT"), ""), sound, strict=False) is None


@pytest.mark.parametrize(
    "end", [outcome(), outcome(3, report("UNKNOWN"), ""), SOUND, outcome(0, '{"rows": []}', "")]
)
def test_right(end: Outcome) -> None:
    assert wrong(end, SOUND, strict=True) is None


def test_a_case_is_its_number() -> None:
    numbers = range(0, 1000, 37)
    assert [case(number) for number in numbers] == [case(number) for number in numbers]
    assert len({str(case(number)) for number in numbers}) == len(numbers)
