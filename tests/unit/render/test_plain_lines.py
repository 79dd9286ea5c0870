# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines without colour are written without rich, and are the same as with it."""

from __future__ import annotations

import re

import pytest

from pageproof.render import textform
from pageproof.render.sheet import Line, Sheet, Styled, styled
from pageproof.render.styles import LABEL

WIDTH = 60
TEXTS = (
    *map(
        styled,
        (
            "",
            "a line",
            "blanks at the end   ",
            "   and in front",
            "x" * WIDTH,
            "x" * (WIDTH + 1),
            "words " * 30,
            "漢字" * (WIDTH // 4),
            "漢字" * (WIDTH // 4) + "x",
            "e\u0301" * WIDTH,
            "tab\tESC\x1b[31m and\nnewline",
            "[bold]no markup[/bold] :smile:",
        ),
    ),
    styled("styled ", ("label", LABEL)),
    styled("styled ", ("label " * 20, LABEL)),
)


def written(line: Line, *, color: bool) -> str:
    parts: list[str] = []
    sheet = Sheet()
    sheet.blocks.append(line)
    textform.write_sheet(sheet, parts.append, color=color, width=WIDTH)
    return "".join(parts)


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_the_same_as_rich_writes(text: Styled, fold: bool) -> None:
    with_color = written(Line(text, fold), color=True)
    without = re.sub("\x1b\\[[0-9;]*m", "", with_color)
    assert written(Line(text, fold), color=False) == "".join(
        f"{one.rstrip()}\n" for one in without.splitlines()
    )


def test_a_line_that_fits_needs_no_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of maps has thousands of lines, and rich takes 0.2 ms for each."""
    monkeypatch.setattr(textform._Console, "print", None)
    assert written(Line(styled("x" * WIDTH)), color=False) == "x" * WIDTH + "\n"
