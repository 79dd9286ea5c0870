# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof regions`` on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pageproof.front.command import (
    Command,
    add_report_options,
    add_verbose,
    check_kinds,
    pid,
    write_answer,
)

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.front.output import Progress

EPILOG: Final = """\
exit codes:
  0  all regions of the selected kinds are listed
  2  wrong usage, no such process, or the target cannot be opened
  3  regions may be missing, or there are none
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to show (default: all that finders recognise)")
    what.add_argument(
        "--kind",
        metavar="KIND",
        action="append",
        default=[],
        help="only regions of this kind, such as umh_shm or shmem; repeatable",
    )
    what.add_argument("--pid", type=pid, metavar="PID", help="only regions that this process maps")
    what.add_argument("--name", metavar="TEXT", help="only regions whose name contains this text")
    how = add_report_options(parser)
    add_verbose(how, "text: list every mapping, also where there are many")


def check(args: argparse.Namespace) -> None:
    """Refuse kinds that do not exist."""
    check_kinds(args.kind)


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.commands.regions import regions
    from pageproof.model.asked import RegionsAsked
    from pageproof.render import Options

    report = regions(target, RegionsAsked(tuple(args.kind), args.pid, args.name), progress.say)
    write_answer(report, args, progress, Options(verbose=args.verbose))
    return report.exit_code


REGIONS: Final = Command(
    name="regions",
    help="list memory that the kernel shares with user space: owner, size, pages mapped",
    description="Search every process for memory that it shares with the kernel or, through "
    "the kernel, with other processes.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
    check=check,
)
