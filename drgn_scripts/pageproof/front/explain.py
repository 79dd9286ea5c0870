# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof explain`` on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from pageproof.front.command import Offline, add_report_options, check_rules, write_answer

if TYPE_CHECKING:
    from pageproof.front.output import Forms, Progress

EPILOG: Final = """\
exit codes:
  0  explained
  2  wrong usage: there is no such rule
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to explain (default: a list of all rules)")
    what.add_argument("rules", metavar="RULE", nargs="*", help="as a report names it in brackets")
    add_report_options(parser, drgn=False)


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.judge.catalogue import CATALOGUE, RULES_BY_ID, commands_of
    from pageproof.render.explaintext import rules_to_json, rules_to_list, rules_to_text

    check_rules(args.rules, RULES_BY_ID, "pageproof explain")
    names = args.rules or RULES_BY_ID
    chosen = {rule: commands_of(rule) for rule in (RULES_BY_ID[name] for name in names)}
    forms: Forms = {
        "text": lambda screen: (
            rules_to_text(chosen, color=screen.color, width=screen.width)
            if args.rules
            else rules_to_list(CATALOGUE, screen.color, screen.width)
        ),
        "json": lambda screen: rules_to_json(chosen),
    }
    write_answer(forms, args, progress)
    return 0


EXPLAIN: Final = Offline(
    name="explain",
    help="tell of a rule what is wrong where it fires, how that comes about, what mends it",
    description="Tell what a finding means: what is wrong and what follows, how it comes about, "
    "what mends it, and where the kernel or a manual tells more.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
