# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of the part "server", as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pageproof_lab.bench.scenario import Goal
from pageproof_lab.bench.timed import Limits, Timed

#: Columns, by target. The goals are for the first and the third.
TARGETS = {
    "outside": "outside",
    "inside": "inside",
    "elf": "ELF dump",
    "compressed": "compressed dump",
}
_GOALS_FOR = ("outside", "elf")
#: Exit codes of a finished report: decided and sound, or something undecided.
_GOOD_CODES = (0, 3)


@dataclass(frozen=True)
class Cell:
    """One result: of a whole process, or the seconds of a part of it."""

    timed: Timed
    seconds: float | None = None  # of the part

    @property
    def good(self) -> bool:
        return self.timed.ended == "itself" and self.timed.code in _GOOD_CODES


Row = Mapping[str, Cell]  # by target


def seconds_text(seconds: float) -> str:
    """Return seconds with three significant digits, but no more than two decimals."""
    decimals = 2 if seconds < 10 else 1 if seconds < 100 else 0
    return f"{seconds:.{decimals}f}"


def cell_text(cell: Cell | None, limits: Limits) -> str:
    """Return the text of a cell; a part of a process has no memory of its own.

    CPU time is given because wall time means little while other programs run.
    """
    if cell is None:
        return ""
    timed = cell.timed
    wall, cpu = seconds_text(timed.seconds), seconds_text(timed.cpu_seconds)
    if timed.ended == "deadline":
        return f"> {limits.seconds:.0f} s ({cpu}), {timed.peak_mib:,.0f} MiB so far"
    if timed.ended == "memory":
        return f"> {limits.memory_mib:,} MiB after {wall} s"
    if timed.code not in _GOOD_CODES:
        return f"failed: exit code {timed.code} after {wall} s"
    if cell.seconds is not None:
        return f"{seconds_text(cell.seconds)} s"
    return f"{wall} s ({cpu}), {timed.peak_mib:,.0f} MiB"


def _misses(cell: Cell, goal: Goal) -> bool:
    timed = cell.timed
    too_big = goal.mib is not None and timed.peak_mib > goal.mib
    return not cell.good or timed.seconds > goal.seconds or too_big


def goal_text(goal: Goal | None, row: Row) -> str:
    """Return a goal and whether it is reached, on each target that it is for."""
    if goal is None:
        return ""
    text = f"≤ {goal.seconds:g} s" + (f", ≤ {goal.mib:g} MiB" if goal.mib is not None else "")
    measured = [target for target in _GOALS_FOR if target in row]
    missed = [TARGETS[target] for target in measured if _misses(row[target], goal)]
    if not measured:
        return text
    if not missed:
        return f"{text}: reached"
    where = "" if len(missed) == len(measured) else f" ({', '.join(missed)})"
    return f"{text}: not reached{where}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main_table(
    rows: Mapping[str, Row], goals: Mapping[str, Goal], limits: Limits, targets: Sequence[str]
) -> str:
    """Return the table of commands and peers by target."""
    shown = [target for target in TARGETS if target in targets]
    lines = [
        _line(["", *(TARGETS[target] for target in shown), "goal"]),
        "|---" * (len(shown) + 2) + "|",
    ]
    for name, row in rows.items():
        texts = [cell_text(row.get(target), limits) for target in shown]
        lines.append(_line([name, *texts, goal_text(goals.get(name.strip("`")), row)]))
    return "\n".join(lines)


@dataclass(frozen=True)
class Size:
    """What the commands took on a part of the processes."""

    processes: int
    vmas: int
    ptes: int
    cells: Row  # by command


def _rise(sizes: Sequence[Size], command: str) -> float | None:
    """Return the slope of the last doubling by that before it: 1 is a straight line.

    The first size includes the start of the program, so only differences count. CPU time, because
    other programs on the machine change the wall time.
    """
    cells = [size.cells.get(command) for size in sizes]
    if len(sizes) < 3 or not all(cell and cell.good for cell in cells[-3:]):
        return None
    (x1, y1), (x2, y2), (x3, y3) = (
        (size.processes, size.cells[command].timed.cpu_seconds) for size in sizes[-3:]
    )
    return (y3 - y2) / (x3 - x2) / ((y2 - y1) / (x2 - x1)) if y2 > y1 else None


def growth_table(sizes: Sequence[Size], commands: Sequence[str], limits: Limits) -> str:
    """Return the table of growth, from the smallest to the full size."""
    lines = [
        _line(["processes", "VMAs", "PTEs", *(f"`{command}`" for command in commands)]),
        "|---" * (3 + len(commands)) + "|",
    ]
    for size in sizes:
        texts = [cell_text(size.cells.get(command), limits) for command in commands]
        numbers = [f"{number:,}" for number in (size.processes, size.vmas, size.ptes)]
        lines.append(_line([*numbers, *texts]))
    rises = [_rise(sizes, command) for command in commands]
    texts = ["" if rise is None else f"{rise:.2f}" for rise in rises]
    lines.append(_line(["CPU time: slope of the last doubling by that before", "", "", *texts]))
    return "\n".join(lines)


def ratio_text(what: str, slow: float | None, fast: float | None, goal: float | None) -> str:
    """Return a line about how many times faster pageproof is, and whether that is the goal."""
    if slow is None or fast is None:
        return f"- {what}: not measured"
    times = slow / fast
    text = f"- {what}: {times:,.3g} times faster"
    if goal is None:
        return text
    return f"{text}; goal {goal:g} times: {'reached' if times >= goal else 'not reached'}"
