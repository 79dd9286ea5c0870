# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof audit`` on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pageproof.errors import Exit, PageproofError
from pageproof.files.inputs import read_text
from pageproof.files.outputs import check_writable
from pageproof.front.command import Command, add_report_options, check_rules, write_answer

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.front.output import Progress
    from pageproof.judge.audit.check import Check
    from pageproof.model.where import Where
    from pageproof.render.draw.rules import ListedRules

EPILOG: Final = """\
A baseline is a file written by --write-baseline, a JSON report of audit, or lines "RULE PLACE".
Findings that it accepts are counted and shown, but do not affect the exit code.

exit codes:
  0  every rule was decided, and there is no error
  1  at least one error
  2  wrong usage, or the target cannot be opened
  3  no error, but something could not be decided
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    which = parser.add_argument_group("which rules")
    which.add_argument(
        "--rule", metavar="ID", action="append", default=[], help="run only this rule; repeatable"
    )
    which.add_argument(
        "--skip", metavar="ID", action="append", default=[], help="do not run this rule; repeatable"
    )
    which.add_argument("--list", action="store_true", help="list the rules and what they need")
    known = parser.add_argument_group("known findings")
    known.add_argument(
        "--baseline", metavar="FILE", type=Path, help="accept the findings in this file"
    )
    known.add_argument(
        "--write-baseline", metavar="FILE", type=Path, help="write all findings to a baseline"
    )
    add_report_options(parser, "junit")


def _chosen(args: argparse.Namespace) -> tuple[Check, ...]:
    from pageproof.judge.audit import CHECKS

    rules: list[str] = args.rule
    skip: list[str] = args.skip
    known = {check.rule.id for check in CHECKS}
    check_rules((*rules, *skip), known, "pageproof audit --list")
    wanted = set(rules or known) - set(skip)
    if not wanted:
        raise PageproofError("no rule is left to run", "", "skip fewer rules")
    return tuple(check for check in CHECKS if check.rule.id in wanted)


def check(args: argparse.Namespace) -> None:
    """Refuse rules that do not exist, and files that are no baseline or cannot become one."""
    _chosen(args)
    if not args.list:
        _accepted(args.baseline)
        if args.write_baseline is not None:
            path = args.write_baseline
            check_writable(path, "baseline", f"--write-baseline {path}")


def _accepted(path: Path | None) -> Mapping[str, frozenset[Where]]:
    from pageproof.files.baseline import parse_baseline

    if path is None:
        return {}
    where = f"--baseline {path}"
    return parse_baseline(read_text(path, "baseline", where), where)


def offline(args: argparse.Namespace, progress: Progress) -> int | None:
    """Answer ``--list``, which needs no target."""
    if not args.list:
        return None

    if args.format != "text":
        raise PageproofError(
            "--list is text only", f"--format {args.format}", "use explain, which has JSON"
        )
    write_answer(listed(_chosen(args)), args, progress)
    return Exit.SOUND


def listed(checks: Iterable[Check]) -> ListedRules:
    """Return the list of rules: what each looks for, and the facts that it needs."""
    from pageproof.render.draw.rules import ListedRule, ListedRules

    rows = (
        ListedRule(
            check.rule.id,
            check.rule.severity,
            f"{check.looks_for}; needs {', '.join(check.needs)}",
        )
        for check in checks
    )
    return ListedRules((("", tuple(rows)),))


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.commands.audit import audit
    from pageproof.front.output import write_text
    from pageproof.render.baseline import baseline_to_json

    report = audit(target, _chosen(args), _accepted(args.baseline), progress.say)
    write_answer(report, args, progress)
    if args.write_baseline is not None:
        text = baseline_to_json((*report.findings, *report.accepted))
        write_text(text, args.write_baseline)
    return report.exit_code


AUDIT: Final = Command(
    name="audit",
    help="check the page tables of the kernel and of all processes against the kernel's own data",
    description="Check the whole system: the kernel half that all processes share, W^X, read-only "
    "data, the direct map, struct page, vmalloc areas, VMAs and page tables. Each rule reports "
    "how much it checked. What cannot be judged is unknown, with the reason.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
    check=check,
    offline=offline,
)
