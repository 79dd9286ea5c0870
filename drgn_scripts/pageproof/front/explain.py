# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof explain`` on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pageproof.errors import Exit
from pageproof.front.command import Offline, add_report_options, check_rules, write_answer

if TYPE_CHECKING:
    from pageproof.front.output import Progress
    from pageproof.model.rule import Rule
    from pageproof.render.draw.rules import ExplainedRules, ListedRules

EPILOG: Final = """\
exit codes:
  0  the rules are explained
  2  wrong usage, or there is no such rule
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to explain (default: a list of all rules)")
    what.add_argument(
        "rules", metavar="RULE", nargs="*", help="a rule, as reports show it in brackets"
    )
    add_report_options(parser)


def run(args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.judge.catalogue import RULES_BY_ID

    check_rules(args.rules, RULES_BY_ID, "pageproof explain")
    is_list = not args.rules and args.format == "text"
    rules = [RULES_BY_ID[name] for name in args.rules or RULES_BY_ID]
    write_answer(listed() if is_list else explained(rules), args, progress)
    return Exit.SOUND


def explained(rules: Iterable[Rule]) -> ExplainedRules:
    """Return rules with the commands that can report them."""
    from pageproof.judge.catalogue import commands_of
    from pageproof.render.draw.rules import ExplainedRules

    return ExplainedRules(tuple((rule, tuple(commands_of(rule))) for rule in rules))


def listed() -> ListedRules:
    """Return lists of all rules, by command."""
    from pageproof.judge.catalogue import CATALOGUE
    from pageproof.render.draw.rules import ListedRule, ListedRules, plain_sentence

    return ListedRules(
        tuple(
            (
                f"rules of {command}",
                tuple(ListedRule(rule.id, rule.severity, plain_sentence(rule)) for rule in rules),
            )
            for command, rules in CATALOGUE.items()
        )
    )


EXPLAIN: Final = Offline(
    name="explain",
    help="explain a finding: its consequences, likely cause and fix",
    description="Explain a finding: what is wrong and what follows from it, the likely cause, the "
    "usual fix, and where the kernel or a manual describes it.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
)
