# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of rules in the documents, made from the rules themselves.

A comment directly before a table controls it; a viewer does not show it:

    <!-- table of rules: audit -->

``audit`` is what ``pageproof audit --list`` shows; ``all`` is every rule of every command.
"""

import re
from collections.abc import Callable, Iterable, Iterator

_TABLE = re.compile(r"^<!-- table of rules: (\S+) -->\n(?P<table>(?:\|.*\n)*)", re.M)


def audit_table() -> str:
    """Return the rules of ``audit``, with what they look for and need."""
    from pageproof.judge.audit import CHECKS

    return _table(
        ("rule", "severity", "looks for", "needs"),
        (
            (f"`{one.rule.id}`", one.rule.severity.value, one.looks_for, ", ".join(one.needs))
            for one in CHECKS
        ),
    )


def all_table() -> str:
    """Return every rule, with its severity, the commands that report it, and its sentence."""
    from pageproof.judge.catalogue import RULES_BY_ID, commands_of

    return _table(
        ("rule", "severity", "reported by", "what is wrong"),
        (
            (
                f"`{rule.id}`",
                rule.severity.value,
                ", ".join(commands_of(rule)),
                re.sub(r"\{\w+\}", "…", rule.sentence),
            )
            for rule in RULES_BY_ID.values()
        ),
    )


TABLES: dict[str, Callable[[], str]] = {"audit": audit_table, "all": all_table}


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (head, *rows)]
    lines[1:1] = ["|".join("---" for _ in head)]
    first, rule, *rest = (f"| {line} |\n" for line in lines)
    return "".join((first, rule.replace(" ", ""), *rest))


def filled(text: str) -> str:
    """Return a document with its tables written anew."""

    def new(match: re.Match[str]) -> str:
        make = TABLES.get(match[1])
        return match[0] if make is None else f"<!-- table of rules: {match[1]} -->\n{make()}"

    return _TABLE.sub(new, text)


def table_faults(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, what is wrong) of the tables that differ from the rules."""
    for match in _TABLE.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        if match[1] not in TABLES:
            yield number, f"table of rules {match[1]!r}: choose from {', '.join(TABLES)}"
        elif match["table"] != TABLES[match[1]]():
            yield number, "the table differs from the rules; run setup/check_docs.py --write"


def missing_faults(texts: Iterable[str]) -> Iterator[str]:
    """Yield the tables that are in no document, so that a rule may be undocumented."""
    found = {match[1] for text in texts for match in _TABLE.finditer(text)}
    for name in TABLES:
        if name not in found:
            yield f"table of rules {name!r}: no document has it"
