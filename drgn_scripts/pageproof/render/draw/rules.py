# SPDX-License-Identifier: GPL-2.0-or-later
"""Explanations of rules, and lists of rules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pageproof.model import Severity
from pageproof.model.rule import Rule
from pageproof.render import Write, styles
from pageproof.render.draw.common import FOLDED, columns
from pageproof.render.jsonform import json_text
from pageproof.render.sheet import Cell, Sheet, styled
from pageproof.render.styles import TITLE


@dataclass(frozen=True)
class ExplainedRules:
    """Rules to explain, each with the commands that can report it."""

    rules: tuple[tuple[Rule, tuple[str, ...]], ...]


@dataclass(frozen=True)
class ListedRule:
    """A row in a list of rules."""

    id: str
    severity: Severity
    text: str


@dataclass(frozen=True)
class ListedRules:
    """Lists of rules, by title; a list without a title has ""."""

    lists: tuple[tuple[str, tuple[ListedRule, ...]], ...]


def draw_explained(answer: ExplainedRules, sheet: Sheet) -> None:
    """Draw everything that is known about some rules, a block for each."""
    for number, (rule, commands) in enumerate(answer.rules):
        if number:
            sheet.gap()
        sheet.line((rule.id, TITLE), "  ", (rule.severity.value, styles.SEVERITIES[rule.severity]))
        sheet.facts(
            (
                ("what", plain_sentence(rule)),
                ("cause", rule.cause),
                ("fix", rule.fix),
                ("see", rule.reference),
                ("found", f"by {', '.join(commands)}"),
            )
        )


def draw_listed(answer: ListedRules, sheet: Sheet) -> None:
    """Draw lists of rules: id, severity and a text."""
    for number, (title, rules) in enumerate(answer.lists):
        if number:
            sheet.gap()
        if title:
            sheet.line(title, style=TITLE)
        sheet.table(columns(2, FOLDED), _rows(rules))


def _rows(rules: Iterable[ListedRule]) -> Iterable[tuple[Cell, ...]]:
    for one in rules:
        yield one.id, styled(one.severity.value, style=styles.SEVERITIES[one.severity]), one.text


def write_explained_json(answer: ExplainedRules, write: Write) -> None:
    """Write an array with an object for each rule."""
    rules = [
        {
            "id": rule.id,
            "severity": rule.severity.value,
            "sentence": plain_sentence(rule),
            "cause": rule.cause,
            "fix": rule.fix,
            "reference": rule.reference,
            "commands": list(commands),
        }
        for rule, commands in answer.rules
    ]
    write(json_text(rules))


def plain_sentence(rule: Rule) -> str:
    """Return its sentence, with dots in place of the words that each finding fills in."""
    return re.sub(r"\{\w+\}", "…", rule.sentence)
