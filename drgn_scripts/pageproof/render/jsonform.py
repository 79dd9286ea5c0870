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
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Annotated, Any, Union, cast

from pageproof.model import HEX, Finding
from pageproof.model.where import Where
from pageproof.render.printable import printable_json
from pageproof.render.where import where_words

Json = Any


def report_to_json(report: Any) -> str:
    """JSON text of any command's report, a dataclass of the model, with a newline at its end."""
    return json_text(to_json(report))


def json_text(data: Json) -> str:
    """Return JSON text with a newline at its end; what is not printable is escaped in strings."""
    return printable_json(json.dumps(data, indent=2, ensure_ascii=False)) + "\n"


def to_json(value: Any) -> Json:
    """A dataclass of the model as what the json module takes."""
    fields = _fields(cast(Hashable, type(value)))
    data = {name: write(getattr(value, name)) for name, write in fields}
    if isinstance(value, Finding):
        place = to_json(value.where)
        data["place"] = {name: one for name, one in place.items() if one is not None}
    return data


#: Makes of a field's value what the json module takes.
_Writer = Callable[[Any], Json]


@functools.cache
def _fields(kind: Hashable) -> list[tuple[str, _Writer]]:
    described = cast(type, kind)
    hints = typing.get_type_hints(described, include_extras=True)
    return [(field.name, _writer(hints[field.name])) for field in dataclasses.fields(described)]


def _writer(hint: Any) -> _Writer:
    """For values of a type; made once, as a report has a hundred thousand values."""
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
