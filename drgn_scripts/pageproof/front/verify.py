# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof verify`` on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
    from pageproof.model.asked import VerifyAsked

EPILOG: Final = """\
exit codes:
  0  everything that was asked is decided and sound
  1  at least one page is DIFFERENT, or there is an error finding
  2  wrong usage, or the target cannot be opened
  3  nothing is wrong, but something could not be decided, or there was nothing to verify
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to verify (default: all regions, all processes)")
    what.add_argument(
        "--kind",
        metavar="KIND",
        action="append",
        default=[],
        help="only regions of this kind, such as umh_shm or shmem; repeatable",
    )
    what.add_argument("--pid", type=pid, metavar="PID", help="only this process")
    what.add_argument(
        "--device",
        metavar="PATH|MAJOR:MINOR",
        help="only mappings of this device, through any device node, whatever its driver",
    )
    what.add_argument(
        "--user",
        metavar="ADDRESS",
        help="this address in the process, whatever is mapped there",
    )
    what.add_argument(
        "--length",
        type=_length,
        metavar="BYTES",
        help="bytes to verify from --user on, rounded to whole pages (default: one page); with "
        "--device, the size of its region (default: the part that is mapped)",
    )
    side = what.add_mutually_exclusive_group()
    side.add_argument(
        "--kernel",
        metavar="ADDRESS|SYMBOL|EXPR",
        help="the kernel address to compare with, or with --device the kernel address of the "
        "region's first page: hex, a symbol, a variable such as umh_shm_region.kaddr, or a drgn "
        "expression over prog, vma and file such as "
        "'cast(\"struct my_ctx *\", file.private_data).ring' (default: the address that a finder "
        "finds; if no finder recognises the region, the kernel's mappings of the frames are shown)",
    )
    side.add_argument(
        "--pages",
        metavar="EXPR",
        help="the kernel's pages, instead of --kernel: an expression for an array of struct page * "
        "or struct folio *, a struct sg_table or a scatterlist",
    )
    what.add_argument(
        "--expect",
        metavar="WORD",
        action="append",
        default=[],
        help="with --device, what the driver's author intends, because the kernel does not know "
        "it: user mode only reads (read-only), a child inherits nothing (no-child), the memory is "
        "never executable (no-exec); repeatable",
    )
    how = add_report_options(parser, "junit")
    how.add_argument(
        "--walker",
        choices=("auto", "c", "python"),
        default="auto",
        help="what walks the page tables: the engine in C, or the slow and simple walker in "
        "Python; the results are the same (default: c if it was built)",
    )
    add_verbose(how, "show every page in full, and every mapping")


def _length(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes")
    return value


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not fit together, and kinds that do not exist."""
    _asked(args)
    check_kinds(args.kind)


def _asked(args: argparse.Namespace) -> VerifyAsked:
    from pageproof.model.asked import KernelSide, VerifyAsked, WalkerChoice, expectations

    return VerifyAsked(
        kinds=tuple(args.kind),
        pid=args.pid,
        device=args.device,
        user=args.user,
        kernel=KernelSide(args.kernel, args.pages, args.length),
        walker=WalkerChoice(args.walker),
        every_page=args.verbose,
        expected=expectations(args.expect),
    )


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof import judge
    from pageproof.commands.verify import verify
    from pageproof.render import Options

    asked = _asked(args)
    report = verify(target, asked, progress.say)

    def rules(kind: str) -> Sequence[str]:
        return judge.rule_ids(kind, asked.expected, of_device=asked.device is not None)

    options = Options(verbose=args.verbose, rules=rules, strict=asked.strict)
    write_answer(report, args, progress, options)
    return report.summary.exit_code


VERIFY: Final = Command(
    name="verify",
    help="prove page by page that kernel and user see the same frames",
    description="Find the memory that the kernel shares with user space and every process that "
    "maps it, walk both page tables for each page, and judge. With --user, compare two addresses "
    "instead.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
    check=check,
)
