# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof whatis`` on the command line."""

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
  0  the address is identified
  2  wrong usage, no such process, CPU or address, or the target cannot be opened
  3  something could not be decided, or nothing is mapped and nothing known there
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to identify")
    what.add_argument(
        "address",
        metavar="ADDRESS|SYMBOL",
        help="hex, a symbol or a variable such as umh_shm_region.kaddr; a pointer means the "
        "address in it, &VARIABLE the address of the variable",
    )
    what.add_argument(
        "--pid",
        type=pid,
        metavar="PID",
        help="the address is in this process (default: in the kernel)",
    )
    what.add_argument(
        "--cpu", type=_cpu, metavar="CPU", help="this CPU's copy of a per-CPU variable"
    )
    what.add_argument(
        "--aliases", action="store_true", help="also list every mapping of its frame, as alias does"
    )
    how = add_report_options(parser, drgn=True)
    add_verbose(how, "text: list every mapping, also where there are many")


def _cpu(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a CPU")
    return int(text)


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.commands.whatis import whatis
    from pageproof.model.asked import WhatisAsked
    from pageproof.render import Options

    asked = WhatisAsked(args.address, args.pid, args.cpu, args.aliases)
    report = whatis(target, asked, progress.say)
    write_answer(report, args, progress, Options(verbose=args.verbose))
    return report.exit_code


WHATIS: Final = Command(
    name="whatis",
    help="identify an address: region, symbol, slab object, vmalloc area, frame …",
    description="Identify an address: its region, what the kernel keeps there (symbol, module, "
    "slab object, stack of a task, vmalloc area, per-CPU variable, struct page, fixmap slot, VMA), "
    "and the frame it is mapped to.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
