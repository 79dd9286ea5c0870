# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof maps`` on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pageproof.front.command import Command, add_report_options, pid, write_answer

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.front.output import Progress

EPILOG: Final = """\
exit codes:
  0  the whole address space was read
  2  wrong usage, no such process, or the target cannot be opened
  3  part of it could not be read, or it kept changing
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to show")
    what.add_argument("--pid", type=pid, metavar="PID", required=True, help="the process")
    how = add_report_options(parser, drgn=True)
    how.add_argument(
        "--pages", action="store_true", help="text: also list the mapped ranges with their frames"
    )


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.commands.maps import maps
    from pageproof.render import Options

    report = maps(target, args.pid, progress.say)
    write_answer(report, args, progress, Options(verbose=args.pages))
    return report.exit_code


MAPS: Final = Command(
    name="maps",
    help="show the VMAs of a process as procfs does, and what its page tables map",
    description="List the VMAs of a process exactly as /proc/PID/maps does, plus what that file "
    "omits: resident bytes by page size, memory types, names of the flags, and the ranges.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
