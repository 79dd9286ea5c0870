# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof verify`` on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pageproof.front.command import Command, add_report_options, pid, write_answer
from pageproof.model.asked import KernelSide, VerifyAsked, WalkerChoice, expectations

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.front.output import Progress

EPILOG: Final = """\
exit codes:
  0  everything asked was decided and is sound
  1  at least one page is DIFFERENT, or there is an error finding
  2  wrong usage, or the target can't be opened
  3  nothing wrong, but something could not be decided, or there was nothing to verify
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
        help="only what processes map of this device, by whatever node, whatever its driver",
    )
    what.add_argument(
        "--user", metavar="ADDRESS", help="this address of the process, whatever is mapped there"
    )
    what.add_argument(
        "--length",
        type=_length,
        metavar="BYTES",
        help="how much from there on, in whole pages (default: one); with --device the size of its "
        "region (default: as far as it is mapped)",
    )
    side = what.add_mutually_exclusive_group()
    side.add_argument(
        "--kernel",
        metavar="ADDRESS|SYMBOL|EXPR",
        help="the kernel address to compare with, or with --device that of the region's first "
        "page: hex, a symbol, a variable such as umh_shm_region.kaddr, or an expression as in "
        "drgn's shell over prog, vma and file, such as "
        "'cast(\"struct my_ctx *\", file.private_data).ring' (default: what a finder knows; where "
        "none does, the kernel's mappings of the frames are shown)",
    )
    side.add_argument(
        "--pages",
        metavar="EXPR",
        help="the same by an expression for a list of pages: an array of struct page * or "
        "struct folio *, a struct sg_table or scatterlist",
    )
    what.add_argument(
        "--expect",
        metavar="WORD",
        action="append",
        default=[],
        help="what its author intends, which the kernel does not know: that user mode only reads "
        "(read-only), that a child has nothing of it (no-child), that it is never executable "
        "(no-exec); with --device; repeatable",
    )
    how = add_report_options(parser, "junit")
    how.add_argument(
        "--walker",
        choices=("auto", "c", "python"),
        default="auto",
        help="who walks the page tables: the engine in C, or the slow and obvious walker; "
        "they give the same (default: c if it was built)",
    )
    how.add_argument("-v", "--verbose", action="store_true", help="every page in full")


def _length(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return value


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not fit together."""
    _asked(args)


def _asked(args: argparse.Namespace) -> VerifyAsked:
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
    from pageproof.commands.regions import check_kinds
    from pageproof.commands.verify import verify
    from pageproof.render import Options

    check_kinds(args.kind)
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
    description="Find what the kernel shares with user space and every process that maps it, walk "
    "both sides of each page, and judge. With --user, compare addresses instead.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
    check=check,
)
