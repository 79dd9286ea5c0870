# SPDX-License-Identifier: GPL-2.0-or-later
"""A baseline as JSON: findings that are known and accepted, by rule and place."""

from __future__ import annotations

from collections.abc import Iterable

from pageproof.model import Finding
from pageproof.render.jsonform import json_text
from pageproof.render.where import where_words

#: What marks a baseline's JSON.
BASELINE_SCHEMA = "pageproof/baseline-1"


def baseline_to_json(findings: Iterable[Finding]) -> str:
    """Text of a baseline that accepts findings, with a newline at its end."""
    listed = [{"id": one.id, "where": where_words(one.where)} for one in findings]
    return json_text({"schema": BASELINE_SCHEMA, "findings": listed})
