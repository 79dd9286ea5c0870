# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading saved JSON reports back into the model.

The model's annotations define each field, as in :mod:`pageproof.render.jsonform`. A missing field,
or one of another type, is reported with its place. Unknown fields are ignored, so that a later
pageproof may add some.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Hashable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, Union, cast

from pageproof.errors import PageproofError
from pageproof.files.inputs import read_text
from pageproof.files.places import read_where
from pageproof.model import ADDED, HEX, SCHEMA, UNSAVED, Finding, Report
from pageproof.model.audit import AUDIT_SCHEMA, AuditReport
from pageproof.model.where import Where

_HEX: Final = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,15})")
_KNOWN: Final = re.compile(r"pageproof/([a-z]{1,20})-([0-9]{1,18})")
#: Characters of a hostile value that a message shows.
_SHOWN: Final = 60
#: Command and model of each report that can be read, by schema.
_READ: Final[dict[str, tuple[str, type[Report | AuditReport]]]] = {
    SCHEMA: ("verify", Report),
    AUDIT_SCHEMA: ("audit", AuditReport),
}


class _BadError(Exception):
    """A value that is not valid: its place and the reason."""


def read_report(path: Path) -> Report | AuditReport:
    """Read a report of ``verify --format json`` or ``audit --format json``.

    Raises:
        PageproofError: the file cannot be read, or is not such a report, or is incomplete.
    """
    value = _json(path)
    command, model = _READ[_schema(value, path)]
    try:
        report = cast(Report | AuditReport, _dataclass(model, value, ""))
        if isinstance(report, Report):
            _check_numbers(report)
        else:
            _check_counts(report)
    except _BadError as error:
        raise PageproofError(
            f"this report is broken: {error}", str(path), _remedy(command)
        ) from None
    return report


def _remedy(command: str) -> str:
    return f"write it again: pageproof {command} --format json -o FILE"


def _json(path: Path) -> Any:
    text = read_text(path, "report", str(path))
    try:
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_without_duplicates,
        )
    except json.JSONDecodeError as error:
        if not text.strip():
            what = "this file is empty"
        elif error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            what = f"this report is cut off in line {error.lineno}"
        else:
            what = f"this is not JSON: {error.msg}, line {error.lineno} column {error.colno}"
        raise PageproofError(what, str(path)) from None
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise PageproofError(f"this is not a report: {what}", str(path)) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:_SHOWN]} is not a JSON number")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Of two equal keys, programs use different ones, so both are refused."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = collections.Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f'"{twice[:_SHOWN]}" is there twice in one object')
    return found


def _schema(value: Any, path: Path) -> str:
    name = value.get("schema") if isinstance(value, dict) else None
    known = _KNOWN.fullmatch(name) if isinstance(name, str) else None
    remedy = _remedy("|".join(command for command, _ in _READ.values()))
    if known is None:
        raise PageproofError("this is not a report of pageproof", str(path), remedy)
    for schema in _READ:
        kind, version = schema.rsplit("-", 1)
        if name == schema:
            return schema
        if f"pageproof/{known[1]}" == kind and int(known[2]) > int(version):
            raise PageproofError(
                f"this report is from a newer pageproof: {name}, and this one reads {schema}",
                str(path),
                "update pageproof",
            )
    raise PageproofError(f"this is a report of another kind: {name}", str(path), remedy)


def _check_numbers(report: Report) -> None:
    """Check values that their types do not: each index is in range, and no run is empty."""
    for number, region in enumerate(report.regions):
        for at, use in enumerate(region.uses):
            place = f"regions[{number}].uses[{at}]"
            _check_index(use.mapping, report.mappings, f"{place}.mapping")
            if report.mappings[use.mapping].vma is None:
                raise _BadError(f"{place}: its mapping has no VMA")
            if any(run.first_page < 0 or run.pages < 1 for run in use.runs):
                raise _BadError(f"{place}.runs: each must have pages, counted from 0")
    for number, proof in enumerate(report.proofs):
        evidence, place = proof.evidence, f"proofs[{number}].evidence"
        _check_index(evidence.mapping, report.mappings, f"{place}.mapping")
        if evidence.region is not None:
            _check_index(evidence.region, report.regions, f"{place}.region")


def _check_counts(report: AuditReport) -> None:
    shown = {one.id for one in (*report.findings, *report.accepted)}
    for number, one in enumerate(report.outcomes):
        if min(one.checked, one.findings, one.accepted) < 0:
            raise _BadError(f"outcomes[{number}]: a count is less than 0")
        if one.findings + one.accepted and one.rule not in shown:
            raise _BadError(f"outcomes[{number}]: it has findings, but none is listed")


def _check_index(index: int, of: tuple[object, ...], place: str) -> None:
    if not 0 <= index < len(of):
        raise _BadError(f"{place} is {index}, and there are {len(of)}")


# From JSON, by the model's annotations


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cast(type, kind), include_extras=True)


def _dataclass(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise _BadError(f"{place or 'it'} must be an object")
    hints, read = _hints(kind), {}
    for field in dataclasses.fields(kind):
        if field.metadata == UNSAVED:
            read[field.name] = ""
            continue
        inside = f"{place}.{field.name}" if place else field.name
        if field.name not in value:
            if field.metadata == ADDED:
                continue
            raise _BadError(f"{inside} is missing")
        read[field.name] = _value(hints[field.name], value[field.name], inside)
    return kind(**read)


def _finding(value: Any, place: str) -> Finding:
    """A finding; older reports have only the text of its place."""
    finding = cast(Finding, _dataclass(Finding, value, place))
    if "place" not in value:
        return finding
    inside = f"{place}.place"
    try:
        where = _dataclass(Where, value["place"], inside)
    except ValueError as error:
        raise _BadError(f"{inside}: {error}") from None
    return dataclasses.replace(finding, where=where)


def _value(hint: Any, value: Any, place: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _hexadecimal(value, place) if HEX in hint.__metadata__ else value
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        return _value(inner, value, place)
    if origin is tuple:
        return _tuple(typing.get_args(hint), value, place)
    if hint is Where:
        return read_where(_text(value, place))
    if hint is Finding:
        return _finding(value, place)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, place)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint, value, place)
    return _PLAIN[hint](value, place)


def _hexadecimal(value: Any, place: str) -> int:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise _BadError(f'{place} must be "0x…"')
    return int(value, 16)


def _tuple(args: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _BadError(f"{place} must be a list")
    if args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise _BadError(f"{place} must have {len(args)} items")
    pairs = enumerate(zip(args, value, strict=True))
    return tuple(_value(arg, one, f"{place}[{number}]") for number, (arg, one) in pairs)


def _enum(kind: type[Enum], value: Any, place: str) -> Enum:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(one.value) for one in kind)
        raise _BadError(f"{place} is {str(value)[:_SHOWN]!r}, not one of {known}") from None


def _integer(value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _BadError(f"{place} must be an integer")
    return value


def _number(value: Any, place: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _BadError(f"{place} must be a number")
    return float(value)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise _BadError(f"{place} must be a string")
    if any("\ud800" <= one <= "\udfff" for one in value):  # half a surrogate pair cannot be printed
        raise _BadError(f"{place} is not valid text")
    return value


def _boolean(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise _BadError(f"{place} must be true or false")
    return value


_PLAIN: Final[dict[type, Callable[[Any, str], Any]]] = {
    int: _integer,
    float: _number,
    str: _text,
    bool: _boolean,
}
