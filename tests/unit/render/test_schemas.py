# SPDX-License-Identifier: GPL-2.0-or-later
"""The schemas of all reports."""

from __future__ import annotations

from typing import Any

import jsonschema
from unit.schemas import SCHEMAS, schema


def test_schemas_say_the_same_of_the_same() -> None:
    """Each schema contains the parts that it shares with others, so that each is complete."""
    first: dict[str, Any] = {}
    for path in sorted(SCHEMAS.iterdir()):
        document = schema(path.name)
        jsonschema.Draft202012Validator.check_schema(document)
        assert document["$id"] == f"pageproof/{path.stem}"
        for name, definition in document["$defs"].items():
            assert first.setdefault(name, definition) == definition, f"{name} in {path.name}"
