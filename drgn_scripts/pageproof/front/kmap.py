# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kmap`` on the command line."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, Final

from pageproof.errors import PageproofError
from pageproof.front.command import Command, add_report_options, pid, write_answer

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.front.output import Progress

EPILOG: Final = """\
exit codes:
  0  the map is complete
  1  there is an error finding, for example memory that is writable and executable
  2  wrong usage, or the target cannot be opened
  3  a page table could not be read
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to show (default: the map, with init_mm's tables)")
    what.add_argument(
        "--pid", type=pid, metavar="PID", help="include the user half and the LDT of this process"
    )
    what.add_argument("--explain", metavar="REGION", help="explain one region of the map")
    add_report_options(parser, drgn=True)
    parser.epilog = f"{_regions()}\n\n{parser.epilog}"


def _regions() -> str:
    """Return the list of regions, for the end of the help."""
    from pageproof import arch

    names = textwrap.fill(
        ", ".join(arch.row_names()),
        80,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    )
    return f"regions for --explain:\n{names}"


def check(args: argparse.Namespace) -> None:
    if args.explain is None:
        return
    from pageproof import arch

    if args.explain not in arch.row_names():
        names = ", ".join(arch.row_names())
        raise PageproofError(
            f"there is no region {args.explain!r}", "--explain", f"choose from {names}"
        )
    if args.format != "text":
        raise PageproofError("--explain is text only", f"--format {args.format}", "omit --format")


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.commands.kmap import kmap
    from pageproof.render.draw.kmap import ExplainedArea

    found = kmap(target, args.pid, progress.say)
    answer = found if args.explain is None else ExplainedArea(found, args.explain)
    write_answer(answer, args, progress)
    return found.exit_code


KMAP: Final = Command(
    name="kmap",
    help="show the memory map of the kernel: this boot's addresses, and what is mapped there",
    description="Show the 64-bit address space, a row for each region of the kernel's mm.rst, "
    "with the addresses of this boot and what the page tables map there.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
    check=check,
)
