# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of `lab bench --part server`."""

import pytest

from pageproof_lab.bench.scenario import Goal
from pageproof_lab.bench.server_table import (
    Cell,
    Size,
    cell_text,
    goal_text,
    growth_table,
    main_table,
    ratio_text,
)
from pageproof_lab.bench.timed import Limits, Timed

LIMITS = Limits(300, 6144)


def cell(seconds: float, mib: float = 100, code: int = 0, ended: str = "itself") -> Cell:
    return Cell(Timed(seconds, seconds / 2, mib, code, ended))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, ""),
        (cell(2.345, 1270.4), "2.35 s (1.17), 1,270 MiB"),
        (cell(23.45), "23.4 s (11.7), 100 MiB"),
        (cell(177.4, code=3), "177 s (88.7), 100 MiB"),
        (cell(300.1, 830, 137, "deadline"), "> 300 s (150), 830 MiB so far"),
        (cell(12.34, 6200, 137, "memory"), "> 6,144 MiB after 12.3 s"),
        (cell(0.5, code=70), "failed: exit code 70 after 0.50 s"),
        (cell(0.5, code=1), "failed: exit code 1 after 0.50 s"),
        (Cell(Timed(20, 20, 500, 0, "itself"), 17.26), "17.3 s"),
    ],
)
def test_cells(given: Cell | None, text: str) -> None:
    assert cell_text(given, LIMITS) == text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"outside": cell(3), "elf": cell(2)}, "≤ 3 s, ≤ 500 MiB: reached"),
        ({"outside": cell(3.1), "elf": cell(2)}, "≤ 3 s, ≤ 500 MiB: not reached (outside)"),
        ({"outside": cell(3), "elf": cell(2, 501)}, "≤ 3 s, ≤ 500 MiB: not reached (ELF dump)"),
        ({"outside": cell(4), "elf": cell(4)}, "≤ 3 s, ≤ 500 MiB: not reached"),
        ({"outside": cell(4), "inside": cell(1)}, "≤ 3 s, ≤ 500 MiB: not reached"),
        ({"outside": cell(1, code=70)}, "≤ 3 s, ≤ 500 MiB: not reached"),
        ({"outside": cell(1, ended="memory")}, "≤ 3 s, ≤ 500 MiB: not reached"),
        ({"inside": cell(1), "compressed": cell(1)}, "≤ 3 s, ≤ 500 MiB"),
    ],
)
def test_goals(row: dict[str, Cell], text: str) -> None:
    assert goal_text(Goal(3, 500), row) == text


def test_a_goal_without_memory() -> None:
    assert goal_text(Goal(1.5), {"elf": cell(1, 9000)}) == "≤ 1.5 s: reached"
    assert goal_text(None, {"elf": cell(1)}) == ""


def test_the_table_has_the_targets_in_order() -> None:
    rows = {"`regions`": {"elf": cell(1), "outside": cell(2)}, "`maps` of one": {"elf": cell(3)}}
    assert main_table(rows, {"regions": Goal(3)}, LIMITS, ["elf", "outside"]).splitlines() == [
        "|  | outside | ELF dump | goal |",
        "|---|---|---|---|",
        "| `regions` | 2.00 s (1.00), 100 MiB | 1.00 s (0.50), 100 MiB | ≤ 3 s: reached |",
        "| `maps` of one |  | 3.00 s (1.50), 100 MiB |  |",
    ]


def sizes(*seconds: float) -> list[Size]:
    """The sizes 100, 200, 400, … processes, and what `verify` took."""
    return [
        Size(100 << number, 1000, 2000, {"verify": cell(each)})
        for number, each in enumerate(seconds)
    ]


@pytest.mark.parametrize(
    ("seconds", "slope"),
    [
        ((1.1, 1.2, 1.4), "1.00"),  # a straight line after one second
        ((9, 1.1, 1.2, 1.4), "1.00"),  # only the last two doublings count
        ((1, 4, 16), "2.00"),  # with the square
        ((1, 1, 2), ""),  # less than the clock shows
        ((1, 2), ""),
    ],
)
def test_growth(seconds: tuple[float, ...], slope: str) -> None:
    lines = growth_table(sizes(*seconds), ["verify"], LIMITS).splitlines()
    assert lines[0] == "| processes | VMAs | PTEs | `verify` |"
    assert lines[2] == f"| 100 | 1,000 | 2,000 | {cell_text(cell(seconds[0]), LIMITS)} |"
    assert lines[-1] == f"| CPU time: slope of the last doubling by that before |  |  | {slope} |"


def test_growth_that_was_not_measured() -> None:
    found = sizes(1, 2, 3)
    found[1] = Size(200, 1, 1, {"verify": cell(300, ended="deadline")})
    assert growth_table(found, ["verify"], LIMITS).endswith("|  |  |  |")


def test_ratios() -> None:
    assert (
        ratio_text("a against b", 100, 2, 50)
        == "- a against b: 50 times faster; goal 50 times: reached"
    )
    assert ratio_text("a", 100, 2.1, 50).endswith("47.6 times faster; goal 50 times: not reached")
    assert ratio_text("a", 3, 2, None) == "- a: 1.5 times faster"
    assert ratio_text("a", None, 2, 50) == "- a: not measured"
