# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof alias`` on the command line."""

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

EPILOG: Final = """\
exit codes:
  0  all mappings of the frame are listed
  1  there is an error finding, for example a mapped frame that is free
  2  wrong usage, no such process or address, or the target cannot be opened
  3  the address leads to no frame, or mappings may be missing
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("which frame")
    what.add_argument(
        "frame",
        metavar="PFN|ADDRESS|SYMBOL",
        help="the number of a frame in hex, or a kernel address, a symbol or a variable such as "
        "umh_shm_region.kaddr; an address stands for the frame it is mapped to",
    )
    what.add_argument(
        "--pid",
        type=pid,
        metavar="PID",
        help="the address is in this process",
    )
    how = add_report_options(parser, drgn=True)
    add_verbose(how, "text: list every mapping, also where there are many")


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.commands.alias import alias
    from pageproof.model.asked import AliasAsked
    from pageproof.render import Options

    report = alias(target, AliasAsked(args.frame, args.pid), progress.say)
    write_answer(report, args, progress, Options(verbose=args.verbose))
    return report.exit_code


ALIAS: Final = Command(
    name="alias",
    help="list every mapping of a frame, in the kernel's half and in all processes",
    description="Search all page tables for one frame. List where the kernel and each process "
    "map it, with access rights and memory type, and compare the number of mappings with the "
    "mapcount in struct page.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
