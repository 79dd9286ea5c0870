# SPDX-License-Identifier: GPL-2.0-or-later
"""What all texts have in common: a console to write on, and facts with labels."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageproof.model import PagingFacts, TargetFacts
from pageproof.render import phrases

#: Style of labels and of what matters less.
LABEL: Final = "dim"
_LABEL_WIDTH: Final = 7


class Sheet:
    """A console whose text is taken at the end."""

    def __init__(self, *, color: bool, width: int) -> None:
        self._out = io.StringIO()
        self.console = Console(
            file=self._out,
            width=width,
            force_terminal=color,
            color_system="standard" if color else None,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def text(self) -> str:
        """All that was printed, with no blanks at the ends of lines and a newline at its end."""
        return "\n".join(line.rstrip() for line in self._out.getvalue().splitlines()) + "\n"


def facts_grid() -> Table:
    """A table whose first column is labels; the caller adds the others."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style=LABEL, width=_LABEL_WIDTH, no_wrap=True)
    return made


def print_facts(console: Console, pairs: Iterable[tuple[str, str]]) -> None:
    """Print facts with their labels; an empty label goes on with the one before."""
    made = facts_grid()
    made.add_column(overflow="fold")
    for label, text in pairs:
        made.add_row(label, Text(text))
    console.print(made)


def target_facts(target: TargetFacts, paging: PagingFacts) -> list[tuple[str, str]]:
    """What was looked at, for the head of a report; its notes stand in ``target.notes``."""
    kernel = f"Linux {target.release}, {paging.levels}-level page tables"
    return [
        ("target", phrases.target(target)),
        ("kernel", kernel + (", PTI" if paging.pti else "")),
    ]
