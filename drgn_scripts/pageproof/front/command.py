# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line has to know of a command, and options that several have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pageproof.errors import PageproofError

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.front.output import Progress
    from pageproof.render import Options

#: Forms that every report has; without --format it is the first. ``render.table`` makes them, and
#: is not imported here, because help has to come at once.
FORMS: Final = ("text", "json")


def _nothing_to_check(args: argparse.Namespace) -> None:
    """For a command whose options can't contradict each other."""


def check_rules(names: Iterable[str], known: Collection[str], listing: str) -> None:
    """Refuse rules that do not exist.

    Args:
        names: ids of rules, as the user wrote them.
        known: those that there are.
        listing: the command that tells them.

    Raises:
        PageproofError: there is none of that name; the nearest is told.
    """
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            fix = f"did you mean {near[0]}?" if near else f"{listing} tells them"
            raise PageproofError(f"there is no rule {name!r}", "", fix)


def _needs_target(args: argparse.Namespace, progress: Progress) -> int | None:
    """For a command that always looks at a target."""
    return None


@dataclass(frozen=True, kw_only=True)
class _Described:
    """What every command has on the command line.

    Attributes:
        name: the word on the command line.
        help: one line for the list of commands.
        description: for the command's own help.
        epilog: its exit codes.
        add_options: adds its options.
        check: raises PageproofError for options that don't go together, before a target is opened.
    """

    name: str
    help: str
    description: str
    epilog: str
    add_options: Callable[[argparse.ArgumentParser], None]
    check: Callable[[argparse.Namespace], None] = _nothing_to_check


@dataclass(frozen=True, kw_only=True)
class Command(_Described):
    """A command that looks at a target.

    Attributes:
        run: looks, writes the answer (:func:`write_answer`), gives the exit code.
        offline: answers what needs no target and gives the exit code; None if a target is
            needed, as nearly always.
    """

    run: Callable[[Target, argparse.Namespace, Progress], int]
    offline: Callable[[argparse.Namespace, Progress], int | None] = _needs_target


@dataclass(frozen=True, kw_only=True)
class Offline(_Described):
    """A command that looks at no target, and needs no drgn.

    Attributes:
        run: writes the answer, gives the exit code.
    """

    run: Callable[[argparse.Namespace, Progress], int]


def with_bug_code(epilog: str) -> str:
    """Add to a list of exit codes the one that all commands share."""
    before, title, after = epilog.partition("exit codes:\n")
    codes, gap, rest = after.rstrip("\n").partition("\n\n")
    return f"{before}{title}{codes}\n  70 a bug in pageproof{gap}{rest}\n"


def pid(text: str) -> int:
    """For argparse: a process ID.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no process ID")
    return int(text)


def add_report_options(
    parser: argparse.ArgumentParser, *more: str, drgn: bool = False
) -> argparse._ArgumentGroup:
    """Add the options that say how the answer is written.

    Args:
        parser: the command's.
        more: names of forms that this command has beside :data:`FORMS`.
        drgn: add ``--drgn``, which selects the form "drgn".

    Returns:
        The group, for the command's own options of that kind.
    """
    how = parser.add_argument_group("report")
    how.add_argument("--format", choices=(*FORMS, *more), default=FORMS[0])
    if drgn:
        how.add_argument(
            "--drgn",
            action="store_const",
            const="drgn",
            dest="format",
            help="print drgn code instead that gives the same",
        )
    how.add_argument("-o", "--output", metavar="FILE", type=Path, help="write it to a file")
    return how


def write_answer(
    report: Any, args: argparse.Namespace, progress: Progress, options: Options | None = None
) -> None:
    """Write a report in the form and to the file that the user chose.

    Args:
        report: of a type in :data:`pageproof.render.table.REPORTS`.
        args: the parsed command line.
        progress: its line is cleared first.
        options: how to write it, beside width and colour.

    Raises:
        PageproofError: the file can't be written.
    """
    from pageproof.front.output import write_report

    progress.clear()
    write_report(report, args.format, args.output, options)
