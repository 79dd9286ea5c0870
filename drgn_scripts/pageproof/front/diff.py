# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof diff`` on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pageproof.front.command import Offline, add_report_options, write_answer

if TYPE_CHECKING:
    from pageproof.output import Forms, Progress

EPILOG: Final = """\
exit codes:
  0  nothing is worse than before, whatever else has changed
  1  a page has become DIFFERENT, or there is a new error finding
  2  wrong usage, or a report can't be read
  3  nothing of that, but pages have become undecided, the reports are of two boots, or neither
     has a page

Reports of one boot are compared by address, PID and frame: of a running system and of its vmcore
too. Two boots are told by the kernel's release and by the bases that KASLR moves; with nokaslr
two boots of one kernel can't be told apart.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to compare")
    for name, text in (("old", "before"), ("new", "after")):
        what.add_argument(
            name,
            metavar=f"{name.upper()}.json",
            type=Path,
            help=f"what verify --format json wrote {text}",
        )
    add_report_options(parser, drgn=False)


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.judge.diff import diff
    from pageproof.render.difftext import diff_to_text
    from pageproof.render.jsonform import report_to_json
    from pageproof.saved import read_report

    old, new = read_report(args.old), read_report(args.new)
    report = diff(old, new, str(args.old), str(args.new))
    forms: Forms = {
        "text": lambda screen: diff_to_text(report, color=screen.color, width=screen.width),
        "json": lambda screen: report_to_json(report),
    }
    write_answer(forms, args, progress)
    return report.summary.exit_code


DIFF: Final = Offline(
    name="diff",
    help="tell what changed between two JSON reports of verify",
    description="Compare two reports that verify --format json wrote, such as one of the running "
    "system and one of its vmcore: regions, mappings, verdicts, frames and findings.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
