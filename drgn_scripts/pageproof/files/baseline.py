# SPDX-License-Identifier: GPL-2.0-or-later
"""A baseline: accepted findings, by rule and place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pageproof.errors import PageproofError
from pageproof.files.places import read_where
from pageproof.model.where import Where


def parse_baseline(text: str, name: str) -> Mapping[str, frozenset[Where]]:
    """Return the accepted places by rule.

    The text is the output of :func:`pageproof.render.baseline.baseline_to_json`, a JSON report of
    ``audit`` (with its findings and accepted findings), or lines ``RULE PLACE``. A line that starts
    with ``#`` is a comment.

    Args:
        text: content of the file.
        name: name of the file, for messages.

    Raises:
        PageproofError: the text has none of these forms.
    """
    pairs = _from_json(text, name) if text.lstrip().startswith("{") else _from_lines(text, name)
    accepted: dict[str, set[Where]] = {}
    for rule, place in pairs:
        accepted.setdefault(rule, set()).add(read_where(place))
    return {rule: frozenset(places) for rule, places in accepted.items()}


def _from_json(text: str, name: str) -> Iterable[tuple[str, str]]:
    wrong = PageproofError(
        "this is not a baseline", name, "make one with audit --write-baseline FILE"
    )
    try:
        data = json.loads(text)
        listed = [*data["findings"], *data.get("accepted", [])]
        pairs = [(one["id"], one["where"]) for one in listed]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise wrong from None
    if not all(isinstance(word, str) for pair in pairs for word in pair):
        raise wrong
    return pairs


def _from_lines(text: str, name: str) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        rule, _, place = words.partition(" ")
        if not place:
            raise PageproofError(
                f"line {number} of the baseline has no place: {words!r}", name, "RULE PLACE"
            )
        yield rule, place.strip()
