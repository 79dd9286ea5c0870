# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof walk`` on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pageproof.front.command import (
    Command,
    add_report_options,
    add_verbose,
    pid,
    write_answer,
)

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.front.output import Progress
    from pageproof.model.asked import WalkAsked

EPILOG: Final = """\
exit codes:
  0  the address leads to a frame, and drgn's own translation does not contradict it
  2  wrong usage, no such process or address, or the target cannot be opened
  3  the address leads to no frame, or that could not be decided
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to walk")
    what.add_argument(
        "address",
        metavar="ADDRESS|SYMBOL",
        help="hex, a symbol or a variable such as umh_shm_region.kaddr",
    )
    what.add_argument(
        "--pid",
        type=pid,
        metavar="PID",
        help="walk the page tables of this process (default: the kernel's own)",
    )
    what.add_argument(
        "--user-tables",
        action="store_true",
        help="walk the tables that user mode runs on (page-table isolation)",
    )
    how = add_report_options(parser, drgn=True)
    add_verbose(how, "text: also show where each entry points, and its bits")


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not fit together."""
    _asked(args)


def _asked(args: argparse.Namespace) -> WalkAsked:
    from pageproof.model.asked import WalkAsked

    return WalkAsked(args.address, args.pid, args.user_tables)


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.commands.walk import walk
    from pageproof.render import Options

    report = walk(target, _asked(args), progress.say)
    write_answer(report, args, progress, Options(verbose=args.verbose))
    return report.exit_code


WALK: Final = Command(
    name="walk",
    help="walk from an address to its frame, level by level",
    description="Walk the page tables for one address. Show each entry on the way, the access "
    "rights, memory type, frame and struct page.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
    check=check,
)
