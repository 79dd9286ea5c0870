# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as JSON: every field, addresses and raw words as "0x…", counts as numbers.

The annotations in the model decide which is which, so a new field needs no change here. The text
is written piece by piece, because the text of a report may need more memory than the report.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import types
import typing
from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from typing import Annotated, Any, Final, Union, cast

from pageproof.model import HEX, UNSAVED, Finding
from pageproof.model.where import Where
from pageproof.render import Write
from pageproof.render.printable import printable_json
from pageproof.render.where import where_words

Json = Any

_STEP: Final = "  "
#: Number of pieces that are passed on as one.
_PIECES: Final = 4096
_quoted: Final[Callable[[str], str]] = json.encoder.encode_basestring


class _Out(list[str]):
    """Pieces of text that wait to be passed on; a call for each would take most of the time."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def pass_on(self) -> None:
        self._write("".join(self))
        self.clear()


#: Writes a value; its last argument is a newline and the indentation of the line it is in.
_Writer = Callable[[Any, _Out, str], None]


def write_json(report: Any, write: Write) -> None:
    """Write a report, a dataclass of the model, as JSON text with a newline at its end."""
    out = _Out(write)
    _write_object(report, out, "\n")
    out.append("\n")
    out.pass_on()


def report_to_json(report: Any) -> str:
    """Return the text that :func:`write_json` writes."""
    out = io.StringIO()
    write_json(report, out.write)
    return out.getvalue()


def json_text(data: Json) -> str:
    """Return dicts and lists as JSON text with a newline at its end, in the form of a report's."""
    return printable_json(json.dumps(data, indent=len(_STEP), ensure_ascii=False)) + "\n"


def _write_object(value: Any, out: _Out, line: str) -> None:
    inside = line + _STEP
    before = "{" + inside
    for name, key, writer in _fields(cast(Hashable, type(value))):
        out.append(before)
        out.append(key)
        writer(getattr(value, name), out, inside)
        before = "," + inside
    if isinstance(value, Finding):
        out.append(f'{before}"place": ')
        _write_place(value.where, out, inside)
    out.append(line + "}")


def _write_place(where: Where, out: _Out, line: str) -> None:
    """Write the fields that this kind of place has."""
    inside = line + _STEP
    before = "{" + inside
    for name, key, writer in _fields(cast(Hashable, Where)):
        value = getattr(where, name)
        if value is not None:
            out.append(before + key)
            writer(value, out, inside)
            before = "," + inside
    out.append(line + "}")


@functools.cache
def _fields(kind: Hashable) -> list[tuple[str, str, _Writer]]:
    """Return name, key and writer of each field that reports of a type have."""
    described = cast(type, kind)
    hints = typing.get_type_hints(described, include_extras=True)
    saved = (each.name for each in dataclasses.fields(described) if each.metadata != UNSAVED)
    return [(name, f'"{name}": ', _writer(hints[name])) for name in saved]


def _writer(hint: Any) -> _Writer:
    """Return the writer for a type. It is made once, because a report may have 100,000 values."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Where:
        return lambda value, out, line: out.append(_text(where_words(value)))
    if origin is Annotated and HEX in hint.__metadata__:
        return _write_hex
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return _writer(inner)
    if origin is not tuple:
        return _write_one
    if args[-1] is Ellipsis:
        each = _writer(args[0])
        return lambda value, out, line: _write_array(
            value, None if value is None else ((each, item) for item in value), out, line
        )
    writers = [_writer(arg) for arg in args]
    return lambda value, out, line: _write_array(
        value, None if value is None else zip(writers, value, strict=True), out, line
    )


def _write_array(
    value: Any, items: Iterable[tuple[_Writer, Any]] | None, out: _Out, line: str
) -> None:
    """Write an array.

    Args:
        value: the array itself.
        items: each item with its writer; None for null.
        out: receives the text.
        line: newline and indentation of the line.
    """
    if items is None or not value:
        out.append("null" if items is None else "[]")
        return
    inside = line + _STEP
    before = "[" + inside
    for writer, item in items:
        out.append(before)
        writer(item, out, inside)
        before = "," + inside
        if len(out) > _PIECES:
            out.pass_on()
    out.append(line + "]")


def _write_hex(value: int | None, out: _Out, line: str) -> None:
    assert value is None or value >= 0, "addresses and words are unsigned"
    out.append("null" if value is None else f'"0x{value:x}"')


def _write_one(value: Any, out: _Out, line: str) -> None:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        out.append(_text(value))
    elif type(value) is int:
        out.append(str(value))
    elif dataclasses.is_dataclass(value):
        _write_object(value, out, line)
    else:
        out.append(json.dumps(value))


def _text(value: str) -> str:
    quoted = _quoted(value)
    return quoted if quoted.isprintable() else printable_json(quoted)
