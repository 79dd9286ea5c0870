# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules as text for a person who has a finding before him, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.table import Table

from pageproof.model.rule import Rule
from pageproof.render import words
from pageproof.render.jsonform import json_text
from pageproof.render.sheet import Sheet, Text, print_facts


def rules_to_text(rules: Mapping[Rule, Sequence[str]], *, color: bool, width: int) -> str:
    """All that there is to say of some rules, one block each.

    Args:
        rules: with the commands that can report each.
        color: with the terminal's escape sequences.
        width: columns.
    """
    sheet = Sheet(color=color, width=width)
    for number, (rule, commands) in enumerate(rules.items()):
        if number:
            sheet.console.print()
        severity = (rule.severity.value, words.SEVERITIES[rule.severity])
        sheet.console.print(Text.assemble((rule.id, "bold"), "  ", severity))
        print_facts(
            sheet.console,
            (
                ("what", _plain(rule)),
                ("cause", rule.cause),
                ("fix", rule.fix),
                ("see", rule.reference),
                ("found", f"by {', '.join(commands)}"),
            ),
        )
    return sheet.text()


def rules_to_list(commands: Mapping[str, Sequence[Rule]], color: bool, width: int) -> str:
    """Every rule with its severity and its sentence, by command."""
    sheet = Sheet(color=color, width=width)
    for number, (command, rules) in enumerate(commands.items()):
        if number:
            sheet.console.print()
        sheet.console.print(Text(f"rules of {command}", style="bold"))
        grid = Table.grid(padding=(0, 2))
        for _ in range(2):
            grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for rule in rules:
            severity = Text(rule.severity.value, style=words.SEVERITIES[rule.severity])
            grid.add_row(rule.id, severity, _plain(rule))
        sheet.console.print(grid)
    return sheet.text()


def rules_to_json(rules: Mapping[Rule, Sequence[str]]) -> str:
    """An array of objects, one a rule; with the commands that can report each."""
    listed = [
        {
            "id": rule.id,
            "severity": rule.severity.value,
            "sentence": _plain(rule),
            "cause": rule.cause,
            "fix": rule.fix,
            "reference": rule.reference,
            "commands": list(commands),
        }
        for rule, commands in rules.items()
    ]
    return json_text(listed)


def _plain(rule: Rule) -> str:
    """Its sentence, with dots for what a finding says of its own."""
    return re.sub(r"\{\w+\}", "…", rule.sentence)
