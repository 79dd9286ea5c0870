# SPDX-License-Identifier: GPL-2.0-or-later
"""What all texts have in common: a console to write on, and facts with labels.

All strings of a report reach the terminal through :class:`Text` or :class:`Sheet`, which escape
them. rich itself passes ESC, C1 and bidirectional controls through, so no other module of this
room imports its Text or its Console.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console as RichConsole
from rich.style import Style
from rich.table import Table
from rich.text import Text as RichText

from pageproof.model import PagingFacts, TargetFacts
from pageproof.render import phrases
from pageproof.render.printable import printable

#: Style of labels and of what matters less.
LABEL: Final = "dim"
_LABEL_WIDTH: Final = 7
#: Before what is left of a folded line; further in than the rows of any table.
_INDENT: Final = " " * 6


class Text(RichText):
    """rich's Text, of which every string is escaped."""

    def __init__(self, text: str = "", style: str | Style = "", **options: Any) -> None:
        super().__init__(printable(text), style, **options)

    def append(self, text: RichText | str, style: str | Style | None = None) -> Text:
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self

    @classmethod
    def assemble(cls, *parts: Any, **options: Any) -> Text:
        made = super().assemble(*parts, **options)
        assert isinstance(made, cls)
        return made


class Console(RichConsole):
    """rich's Console, which escapes a plain string wherever one is printed or is a table's cell."""

    def render_str(self, text: str, **options: Any) -> RichText:
        return super().render_str(printable(text), **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; a single Text that is folded goes on indented.

        Otherwise a long name could be folded so that its rest looks like a line of the report.
        """
        if len(objects) == 1 and isinstance(objects[0], RichText) and not options:
            objects = (self._folded(objects[0]),)
        super().print(*objects, **options)

    def _folded(self, text: RichText) -> RichText:
        first, *more = text.wrap(self, self.width)
        if not more:
            return text
        rest = text[len(first.plain) :]
        rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
        indented = rest.wrap(self, self.width - len(_INDENT))
        return RichText("\n").join([first, *(RichText(_INDENT) + line for line in indented)])


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
