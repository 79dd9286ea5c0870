# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenarios of `lab bench --part server`: their numbers, and the check of the guest."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pageproof_lab import LabError
from pageproof_lab.bench.mappers import Mapper, parse_line
from pageproof_lab.bench.scenario import SCENARIOS, Scenario

VMAS, ENTRIES = SCENARIOS["vmas"], SCENARIOS["entries"]


def test_the_numbers_of_the_goals() -> None:
    assert (VMAS.processes * VMAS.vmas, VMAS.mappings) == (1_000_000, 250_000)
    assert SCENARIOS["buffer"].ptes == 48 * (1 << 30) // 4096
    assert ENTRIES.ptes == 104_857_600
    assert SCENARIOS["unordered"].ptes == 1 << 22
    assert ENTRIES.memory_mib == 8192


def test_arguments_for_the_program() -> None:
    assert VMAS.group == "server:2000:500:500:pieces"
    assert ENTRIES.group == "server:100:1:1048576"
    assert SCENARIOS["unordered"].group == "server:16:1:262144:scattered"


def test_smaller_versions_have_no_goals() -> None:
    small = VMAS.smaller(8, 6, None)
    assert (small.group, small.mappings, small.ptes) == ("server:8:6:6:pieces", 16, 16)
    assert small.goals == ()
    assert small.memory_mib < VMAS.memory_mib
    few = ENTRIES.smaller(None, 7, 2)
    assert (few.processes, few.memfd_pages, few.vmas) == (100, 512, 0)
    assert "a memfd of 2 MiB" in few.describe()
    assert ENTRIES.smaller(100, None, 4096) is ENTRIES
    assert VMAS.smaller(None, None, 5) is VMAS


def test_a_line_of_the_program() -> None:
    assert parse_line("server 12 0x7f00 510 125 3 44") == Mapper(
        "server", 12, 0x7F00, 510, 125, 3, 44
    )
    for line in ("", "server 12", "server x 0x1 1 1 1 1", "ready"):
        with pytest.raises(LabError, match="unexpected line"):
            parse_line(line)


def _mappers(scenario: Scenario) -> list[Mapper]:
    """What a guest counts that is as promised."""
    each = scenario.ptes // scenario.processes
    runs = each if scenario.scattered else 1
    one = Mapper("server", 1, 0x1000, scenario.vmas or 13, each, runs, each * 8 // 1024 + 40)
    return [replace(one, pid=pid) for pid in range(1, scenario.processes + 1)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_guest_as_promised(name: str) -> None:
    SCENARIOS[name].check(_mappers(SCENARIOS[name]))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("vmas", lambda m: replace(m, vmas=499), "2,000 processes have fewer than 500 VMAs"),
        ("buffer", lambda m: replace(m, ptes=m.ptes - 1), "12,582,864 pages .* of 12,582,912"),
        ("entries", lambda m: replace(m, tables_kib=40), "too few for 104,857,600 small pages"),
        ("unordered", lambda m: replace(m, runs=9), "in order: 4,194,304 pages are 144 runs"),
    ],
)
def test_another_guest_is_refused(name: str, change: Callable[[Mapper], Mapper], said: str) -> None:
    scenario = SCENARIOS[name]
    with pytest.raises(LabError, match=said):
        scenario.check([change(mapper) for mapper in _mappers(scenario)])
    with pytest.raises(LabError, match="processes instead of"):
        scenario.check(_mappers(scenario)[1:])
