# SPDX-License-Identifier: GPL-2.0-or-later
"""What a replay consists of: steps, with what the article showed and what this kernel shows."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One thing that a step shows.

    Attributes:
        what: its name.
        now: its value on this kernel.
        words: the value in words; "" if it is clear.
        then: what the article showed; "" if it did not show this.
        why: lines that explain why the two differ.
        ok: whether it is as expected; None if nothing particular is expected.
        expected: in words, if it is not.
    """

    what: str
    now: str
    words: str = ""
    then: str = ""
    why: tuple[str, ...] = ()
    ok: bool | None = None
    expected: str = ""


@dataclass(frozen=True)
class Seen:
    """Accesses that follow each other and belong together, such as those of one memset().

    Attributes:
        address: of the field, on the side that was used.
        side: "kernel" or "user".
        access: "read" or "write".
        before, after: the field's value in words.
        accesses: how many.
        code: functions, the innermost first.
    """

    address: int
    side: str
    access: str
    field: str
    before: str
    after: str
    accesses: int
    pid: int
    comm: str
    code: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One step of the session.

    Attributes:
        gdb: what one types to do the same by hand.
        text: what happens, in a few sentences.
    """

    title: str
    gdb: tuple[str, ...]
    text: str
    rows: tuple[Row, ...]
    seen: tuple[Seen, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the step showed what it should."""
        return all(row.ok is not False for row in self.rows)


@dataclass(frozen=True)
class Transcript:
    """A whole replay.

    Attributes:
        append: the guest kernel's command line.
        parameters: of the module.
    """

    release: str
    append: str
    parameters: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether each step showed what it should."""
        return bool(self.steps) and all(step.ok for step in self.steps)


@dataclass
class Rows:
    """Collects the rows of a step."""

    found: list[Row] = field(default_factory=list)

    def fact(self, what: str, now: str, words: str = "", *, then: str = "") -> None:
        """Add something that depends on the boot, so that no value is expected."""
        self.found.append(Row(what, now, words, then))

    def check(
        self,
        what: str,
        now: str,
        expected: str,
        words: str = "",
        *,
        then: str = "",
        why: Sequence[str] = (),
    ) -> None:
        """Add something that must have one value."""
        self.require(now == expected, what, now, expected, words, then=then, why=why)

    def require(
        self,
        ok: bool,
        what: str,
        now: str,
        expected: str,
        words: str = "",
        *,
        then: str = "",
        why: Sequence[str] = (),
    ) -> None:
        """Add something that must hold; `expected` states what, in words."""
        self.found.append(Row(what, now, words, then, tuple(why), ok, "" if ok else expected))

    def step(self, title: str, gdb: Sequence[str], text: str, seen: Sequence[Seen] = ()) -> Step:
        """Return the step."""
        return Step(title, tuple(gdb), text, tuple(self.found), tuple(seen))
