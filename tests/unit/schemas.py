# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparison of reports with their schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

import pageproof
from pageproof.render.jsonform import report_to_json

SCHEMAS: Final = Path(pageproof.__file__).parent / "schema"


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


def fits_schema(name: str, report: Any) -> None:
    """Fail if a report does not fit its schema, or fits it without one of its parts."""
    document = json.loads(report_to_json(report))
    validator = jsonschema.Draft202012Validator(schema(name))
    validator.validate(document)
    for key in document:
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({k: v for k, v in document.items() if k != key})
