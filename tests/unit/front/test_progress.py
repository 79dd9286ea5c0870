# SPDX-License-Identifier: GPL-2.0-or-later
"""The line that shows the step: only on a terminal, one line, never more often than one can see."""

from __future__ import annotations

import io
import time

import pytest
from rich.cells import cell_len

from pageproof.front.output import Progress
from pageproof.render.textform import progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Give standard error a terminal. pytest has its own again after each fixture."""
    made = Terminal()
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    return made


def lines(terminal: Terminal) -> list[str]:
    return terminal.getvalue().split("\r\033[K")[1:]


def test_each_step_replaces_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    progress = Progress()
    for step in ("opening a", "loading b"):
        progress.say(step)
    progress.clear()
    progress.clear()
    assert lines(terminal) == ["opening a …", "loading b …", ""]


@pytest.mark.parametrize("term", ["dumb", None])
def test_nothing_in_a_log(monkeypatch: pytest.MonkeyPatch, term: str | None) -> None:
    made = io.StringIO() if term is None else Terminal()
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setenv("TERM", term or "xterm")
    progress = Progress()
    progress.say("region 1 of 2")
    progress.clear()
    assert made.getvalue() == ""


def test_a_count_is_drawn_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress = Progress()
    for number in range(1000):
        progress.say(f"region {number} of 1000, mapping {number}")
        now += 0.001
    progress.say("judging")
    shown = lines(terminal)
    assert len(shown) <= 23
    assert shown[0].startswith("region 0 of 1000")
    assert shown[-1] == "judging …"


@pytest.mark.parametrize(
    ("message", "bar"),
    [
        ("region 3 of 9", 7),
        ("sweeping 9 of 9 spaces", 20),
        ("region 0 of 9", 0),
        ("region 9 of 0", 0),
        ("region 0 of 0", 0),
        ("opening /tmp/" + "9" * 400 + " of " + "8" * 400, 0),
    ],
)
def test_a_count_is_a_bar(message: str, bar: int) -> None:
    line = progress_line(message, color=False, width=79)
    assert line.startswith(message[:50])
    assert sum(map(line.count, "━╸")) == bar


@pytest.mark.parametrize("message", ["x" * 300, "大" * 300, "\x1b[31m" * 50, "\u202e\n" * 50])
@pytest.mark.parametrize("count", ["", " 1 of 2"])
@pytest.mark.parametrize("width", [20, 79, 200])
def test_a_long_message_stays_on_one_line(message: str, count: str, width: int) -> None:
    line = progress_line(message + count, color=False, width=width)
    assert line.isprintable()
    assert cell_len(line) <= max(width, 22)
