# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as JSON: every field, addresses and raw words as "0x…", counts as numbers.

The annotations in the model decide which is which, so a new field needs no change here.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Annotated, Any, Union, cast

from pageproof.model import HEX, UNSAVED, Finding
from pageproof.model.where import Where
from pageproof.render.printable import printable_json
from pageproof.render.where import where_words

Json = Any


def report_to_json(report: Any) -> str:
    """Return a report, a dataclass of the model, as JSON text with a newline at its end."""
    return json_text(to_json(report))


def json_text(data: Json) -> str:
    """Return JSON text with a newline at its end; unprintable characters are escaped."""
    return printable_json(json.dumps(data, indent=2, ensure_ascii=False)) + "\n"


def to_json(value: Any) -> Json:
    """Return a dataclass of the model as dicts and lists for the json module."""
    fields = _fields(cast(Hashable, type(value)))
    data = {name: write(getattr(value, name)) for name, write in fields}
    if isinstance(value, Finding):
        place = to_json(value.where)
        data["place"] = {name: one for name, one in place.items() if one is not None}
    return data


#: Converts the value of a field for the json module.
_Writer = Callable[[Any], Json]


@functools.cache
def _fields(kind: Hashable) -> list[tuple[str, _Writer]]:
    described = cast(type, kind)
    hints = typing.get_type_hints(described, include_extras=True)
    saved = (each for each in dataclasses.fields(described) if each.metadata != UNSAVED)
    return [(each.name, _writer(hints[each.name])) for each in saved]


def _writer(hint: Any) -> _Writer:
    """Return the writer for a type. It is made once, because a report may have 100,000 values."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Where:
        return where_words
    if origin is Annotated and HEX in hint.__metadata__:
        return _write_hex
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return _writer(inner)
    if origin is not tuple:
        return _write_one
    if args[-1] is Ellipsis:
        each = _writer(args[0])
        return lambda value: value if value is None else [each(item) for item in value]
    writers = [_writer(arg) for arg in args]
    return lambda value: (
        value
        if value is None
        else [write(item) for write, item in zip(writers, value, strict=True)]
    )


def _write_hex(value: int | None) -> Json:
    if value is None:
        return None
    assert value >= 0, "addresses and words are unsigned"
    return f"0x{value:x}"


def _write_one(value: Any) -> Json:
    if isinstance(value, Enum):
        return value.value
    return to_json(value) if dataclasses.is_dataclass(value) else value
