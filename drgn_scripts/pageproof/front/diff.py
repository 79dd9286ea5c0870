# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof diff`` on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pageproof.errors import PageproofError
from pageproof.front.command import Offline, add_report_options, write_answer

if TYPE_CHECKING:
    from pageproof.front.output import Progress
    from pageproof.model.auditdiff import AuditDiffReport
    from pageproof.model.diff import DiffReport

EPILOG: Final = """\
exit codes:
  0  nothing is worse than before, whatever else has changed
  1  a page has become DIFFERENT, or there is a new error finding
  2  wrong usage, or a report cannot be read
  3  no new error, but pages or rules have become undecided, the reports are from two boots, or
     they have nothing to compare: no page or no rule in common

Reports from one boot are compared by address, PID and frame, for example a report of the running
system and one of its vmcore. Two boots are recognised by the kernel's release and by the bases
that KASLR moves. With nokaslr, two boots of one kernel cannot be told apart.

Findings of audit are matched by rule and place, as in a baseline. A finding that is missing in the
newer report counts as gone only if its rule was decided. A finding that the baseline accepts is
never new.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to compare")
    for name, text in (("old", "older"), ("new", "newer")):
        what.add_argument(
            name,
            metavar=f"{name.upper()}.json",
            type=Path,
            help=f"the {text} report, written by verify or audit with --format json",
        )
    add_report_options(parser)


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.files.saved import read_report
    from pageproof.judge.diff import diff
    from pageproof.judge.diff.audits import diff_audits
    from pageproof.model import Report
    from pageproof.model.audit import AuditReport

    old, new = read_report(args.old), read_report(args.new)
    paths = str(args.old), str(args.new)
    report: DiffReport | AuditDiffReport
    if isinstance(old, Report) and isinstance(new, Report):
        report = diff(old, new, *paths)
    elif isinstance(old, AuditReport) and isinstance(new, AuditReport):
        report = diff_audits(old, new, *paths)
    else:
        raise PageproofError(
            f"these are reports of two kinds: {old.schema} and {new.schema}",
            " and ".join(paths),
            "compare two reports of verify, or two of audit",
        )
    write_answer(report, args, progress)
    return report.summary.exit_code


DIFF: Final = Offline(
    name="diff",
    help="show what changed between two JSON reports of verify, or two of audit",
    description="Compare two reports that verify or audit wrote with --format json, for example "
    "one of the running system and one of its vmcore. For verify, compare regions, mappings, "
    "verdicts, frames and findings. For audit, compare findings, and list the rules that only one "
    "of the two could decide.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
