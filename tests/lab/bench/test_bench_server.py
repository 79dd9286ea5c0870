# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab bench --part server` counts in the reports that it checks."""

import json
from typing import Any

import pytest
from machine import ROOT

from pageproof_lab.bench.bench_server import count_in

Json = dict[str, Any]


def golden(name: str, group: str) -> Json:
    """Return a golden report whose first region is the memfd of a group."""
    report: Json = json.loads((ROOT / "tests/golden" / name).read_text())
    report["regions"][0]["name"] = f"memfd:{group}"
    return report


def test_mappings_in_a_report_of_regions() -> None:
    report = golden("regions/regions.json", "server")
    assert count_in("regions", report) == len(report["regions"][0]["uses"]) > 0
    assert count_in("regions", golden("regions/regions.json", "other")) == 0


@pytest.mark.parametrize(("verdict", "pages"), [("SAME", 5), ("DIFFERENT", 2), ("UNDECIDED", 2)])
def test_sound_pages_in_a_report_of_verify(verdict: str, pages: int) -> None:
    report = golden("article.json", "server")
    same = {"first_page": 0, "pages": 2, "verdict": "SAME", "reason": None}
    other = {"first_page": 2, "pages": 3, "verdict": verdict, "reason": None}
    report["regions"][0]["uses"] = [{"mapping": 0, "first_page": 0, "runs": [same, other]}]
    assert count_in("verify", report) == pages
    report["regions"][0]["name"] = "memfd:other"
    assert count_in("verify", report) == 0
