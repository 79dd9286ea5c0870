# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump verify`` on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pageproof.errors import PageproofError
from pageproof.front.command import (
    Offline,
    add_report_options,
    add_verbose,
    need_drgn,
    write_answer,
)

if TYPE_CHECKING:
    from pageproof.front.output import Progress
    from pageproof.model.kdump import KdumpReport

EPILOG: Final = """\
Run it right after the capture, while the machine can still be asked. It needs debug info or BTF of
the dump's kernel for all checks but those of the headers.

exit codes:
  0  every check is ok
  1  at least one is bad
  2  wrong usage, or the file cannot be read or is no dump
  3  nothing is bad, but something could not be decided
"""


def _level(text: str) -> int:
    if not text.isdecimal() or int(text) > 31:
        raise argparse.ArgumentTypeError(f"{text!r} is no dump level: it is 0 to 31")
    return int(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to verify")
    what.add_argument(
        "dumps",
        metavar="VMCORE",
        type=Path,
        nargs="+",
        help="the dump; of one that was split (makedumpfile --split), all its files",
    )
    what.add_argument(
        "-s",
        "--symbols",
        dest="debug_files",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="debug info (vmlinux, *.ko) in addition to what drgn finds; repeatable",
    )
    what.add_argument(
        "--level",
        metavar="0..31",
        type=_level,
        help="the dump level, for a dump that does not record it, such as an ELF one",
    )
    add_verbose(add_report_options(parser), "show the facts behind each check")


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.render import Options

    need_drgn()
    report = verify_dump(args.dumps, args.debug_files, args.level, progress.say)
    write_answer(report, args, progress, Options(verbose=args.verbose))
    return report.exit_code


def verify_dump(
    paths: Sequence[Path],
    symbols: Iterable[Path],
    level: int | None,
    progress: Callable[[str], None],
) -> KdumpReport:
    """Return the report about a dump.

    Args:
        paths: the dump; all files of one that was split.
        symbols: files with debug info.
        level: the dump level, for a dump that does not record it.
        progress: called with one line before each step.

    Raises:
        PageproofError: the file cannot be read, or is no dump.
    """
    from pageproof.attach.dumpfile import inspect_dump
    from pageproof_kdump.engine import report_of
    from pageproof_kdump.verify import headers, memory
    from pageproof_kdump.verify.facts import DumpFacts
    from pageproof_kdump.verify.head import read_head

    path, *others = paths
    progress(f"reading the headers of {path}")
    heads = [read_head(one) for one in paths]
    head = heads[0]
    if others and not all(one.is_part for one in heads):
        raise PageproofError(
            "several files were given, and not all are parts of a split dump",
            "",
            "verify one dump at a time",
        )
    damage = ""
    try:
        notes = inspect_dump(path, (), others).notes
        if head.is_part and notes:
            damage = notes[0].partition("; ")[0]  # the rest is about -c
    except PageproofError as error:
        damage = error.what
    facts = DumpFacts(head, level, damage, symbols, progress, others)
    checks = (*headers.CHECKS, *memory.CHECKS)
    subject = " ".join(map(str, paths))
    return report_of("verify", subject, head.value("OSRELEASE"), checks, facts)


VERIFY: Final = Offline(
    name="kdump verify",
    help="is this dump whole?",
    description="Check a dump right after it was captured: format, compression, level, kernel and "
    "its debug info; that every page table, task and module can be read; and that makedumpfile's "
    "filter has left out nothing that it should have kept.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
    without_target="name the dump after the command, and debug info with its own -s",
)
