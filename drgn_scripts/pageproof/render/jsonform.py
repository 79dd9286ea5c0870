# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as JSON: all of it, addresses and words as "0x…", counts as numbers.

Which is which stands in the model's annotations and is looked up there, so
that a new field needs nothing here.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Hashable
from enum import Enum
from typing import Annotated, Any, Union, cast

from pageproof.model import HEX

Json = Any


def report_to_json(report: Any) -> str:
    """JSON text of any command's report, a dataclass of the model, with a newline at its end."""
    return json.dumps(to_json(report), indent=2, ensure_ascii=False) + "\n"


def to_json(value: Any) -> Json:
    """A dataclass of the model as what the json module takes."""
    hints = _hints(cast(Hashable, type(value)))
    return {
        field.name: _convert(getattr(value, field.name), hints[field.name])
        for field in dataclasses.fields(value)
    }


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cast(type, kind), include_extras=True)


def _convert(value: Any, hint: Any) -> Json:
    if value is None:
        return None
    origin = typing.get_origin(hint)
    if origin is Annotated:
        if HEX in hint.__metadata__:
            assert value >= 0, "addresses and words are unsigned"
            return f"0x{value:x}"
        return value
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        return _convert(value, inner)
    if origin is tuple:
        args = typing.get_args(hint)
        if len(args) == 2 and args[1] is Ellipsis:
            return [_convert(item, args[0]) for item in value]
        return [_convert(item, arg) for item, arg in zip(value, args, strict=True)]
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, Enum):
        return value.value
    return value
