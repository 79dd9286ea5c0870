# SPDX-License-Identifier: GPL-2.0-or-later
"""The description of a command for the command line, and options that several commands share."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pageproof.errors import PageproofError
from pageproof.model.kinds import OWN_KINDS

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.front.output import Progress
    from pageproof.render import Options

#: Forms that every report has; the first is the default. ``render.table`` makes them. It is not
#: imported here because its imports would delay the help.
FORMS: Final = ("text", "json")


def _nothing_to_check(args: argparse.Namespace) -> None:
    """Check nothing: for a command whose options cannot contradict each other."""


def check_rules(names: Iterable[str], known: Collection[str], listing: str) -> None:
    """Refuse rules that do not exist.

    Args:
        names: ids of rules, from the user.
        known: ids of the rules that exist.
        listing: the command that lists them.

    Raises:
        PageproofError: a rule does not exist; the message suggests the nearest.
    """
    for name in names:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1)
            fix = f"did you mean {near[0]}?" if near else f"{listing} lists them"
            raise PageproofError(f"there is no rule {name!r}", "", fix)


def _needs_target(args: argparse.Namespace, progress: Progress) -> int | None:
    """Return None: for a command that always reads a target."""
    return None


@dataclass(frozen=True, kw_only=True)
class Described:
    """The parts that every command has.

    Attributes:
        name: the word on the command line.
        help: one line for the list of commands.
        description: for the command's own help.
        epilog: its exit codes.
        add_options: adds its options to a parser.
        check: raises PageproofError if options contradict each other, before a target is opened.
    """

    name: str
    help: str
    description: str
    epilog: str
    add_options: Callable[[argparse.ArgumentParser], None]
    check: Callable[[argparse.Namespace], None] = _nothing_to_check


@dataclass(frozen=True, kw_only=True)
class Command(Described):
    """A command that reads a target.

    Attributes:
        run: reads the target, writes the answer (:func:`write_answer`), returns the exit code.
        offline: writes an answer that needs no target and returns the exit code; returns None if
            the options need a target, as nearly all do.
    """

    run: Callable[[Target, argparse.Namespace, Progress], int]
    offline: Callable[[argparse.Namespace, Progress], int | None] = _needs_target


@dataclass(frozen=True, kw_only=True)
class Offline(Described):
    """A command that reads no target and needs no drgn.

    Attributes:
        run: writes the answer, returns the exit code.
        without_target: what to do if the options of a target were given.
    """

    run: Callable[[argparse.Namespace, Progress], int]
    without_target: str = "omit -c, --qemu and -s"


def described(command: Described) -> dict[str, Any]:
    """Return the options for the parser of a command."""
    return {
        "description": textwrap.fill(command.description, 80),
        "epilog": with_bug_code(command.epilog),
        "formatter_class": argparse.RawDescriptionHelpFormatter,  # keeps the lines of exit codes
        "allow_abbrev": False,
    }


def with_bug_code(epilog: str) -> str:
    """Return an epilog with the exit code that all commands share added to its list."""
    before, title, after = epilog.partition("exit codes:\n")
    codes, gap, rest = after.rstrip("\n").partition("\n\n")
    return f"{before}{title}{codes}\n  70 a bug in pageproof{gap}{rest}\n"


def need_drgn() -> None:
    """Load drgn, before anything that imports its helpers.

    Raises:
        PageproofError: it cannot.
    """
    try:
        import drgn  # noqa: F401
    except ImportError as error:
        raise PageproofError(
            f"cannot load drgn: {error}", "", "install it: pip install 'drgn>=0.3'"
        ) from None
    from pageproof.find.helpers import load_helpers_singly

    load_helpers_singly()


def load_parts(name: str, form: str) -> None:
    """Import what a command runs with and what it writes its report with.

    Its run() imports all of it; this is done before, while there is time. An error is left for
    run(), which meets it again.

    Args:
        name: the command's.
        form: of its report.
    """
    parts = [f"pageproof.commands.{name}", "pageproof.render.table"]
    if form == "text":
        parts += [f"pageproof.render.draw.{name}", "pageproof.render.textform"]
    with suppress(Exception):
        for part in parts:
            import_module(part)


def check_kinds(kinds: Collection[str]) -> None:
    """Refuse kinds of regions that no finder has; finders of other packages need drgn.

    Raises:
        PageproofError: there is no such kind, or no drgn.
    """
    if not OWN_KINDS.issuperset(kinds):
        need_drgn()
        from pageproof.commands import regions

        regions.check_kinds(kinds)


def pid(text: str) -> int:
    """Return a process ID; for argparse.

    Raises:
        argparse.ArgumentTypeError: the text is not a process ID.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a process ID")
    return int(text)


def add_report_options(
    parser: argparse.ArgumentParser, *more: str, drgn: bool = False
) -> argparse._ArgumentGroup:
    """Add the options for the form and the file of the report.

    Args:
        parser: the command's.
        more: names of the forms that this command has in addition to :data:`FORMS`.
        drgn: add ``--drgn``, which selects the form "drgn".

    Returns:
        The group, for the command's own options of that kind.
    """
    how = parser.add_argument_group("report")
    how.add_argument(
        "--format",
        choices=(*FORMS, *more),
        default=FORMS[0],
        help="form of the report (default: %(default)s)",
    )
    if drgn:
        how.add_argument(
            "--drgn",
            action="store_const",
            const="drgn",
            dest="format",
            help="print drgn code that finds the same, instead of the report",
        )
    how.add_argument("-o", "--output", metavar="FILE", type=Path, help="write the report to a file")
    return how


def add_verbose(group: argparse._ArgumentGroup, text: str) -> None:
    """Add the option -v to the options of a report.

    Args:
        group: from :func:`add_report_options`.
        text: what the report then shows.
    """
    group.add_argument("-v", "--verbose", action="store_true", help=text)


def write_answer(
    report: Any, args: argparse.Namespace, progress: Progress, options: Options | None = None
) -> None:
    """Write a report in the form and to the file that the user chose.

    Args:
        report: of a type in :data:`pageproof.render.table.REPORTS`.
        args: the parsed command line.
        progress: shows that the report is written, unless it is written to the terminal.
        options: how to write it; width and colour are set here.

    Raises:
        PageproofError: the file cannot be written.
    """
    from pageproof.front.output import write_report

    if args.output is not None:
        progress.say(f"writing {args.output}")
    elif sys.stdout is not None and not sys.stdout.isatty():
        progress.say("writing the report")
    else:
        progress.clear()
    write_report(report, args.format, args.output, options)
    progress.clear()
