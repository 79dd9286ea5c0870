# SPDX-License-Identifier: GPL-2.0-or-later
"""Making hundreds of thousands of frozen dataclasses quickly."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, field, fields, make_dataclass
from typing import Any, ParamSpec, TypeVar, cast

_Args = ParamSpec("_Args")
_Made = TypeVar("_Made")


def quick(kind: Callable[_Args, _Made]) -> Callable[_Args, _Made]:
    """Return a function that makes instances of a frozen dataclass with slots.

    ``__init__`` of a frozen dataclass calls ``object.__setattr__()`` for each field, which takes
    four times as long as an assignment. So a twin without ``frozen`` is made, and its instances
    become those of the class.

    Args:
        kind: the class. It must have no base and no ``__post_init__()``.
    """

    def become(one: Any) -> None:
        one.__class__ = kind

    twin = make_dataclass(
        kind.__name__,
        [(one.name, Any, _default(one)) for one in fields(cast(Any, kind))],
        namespace={"__post_init__": become},
        slots=True,
        eq=False,
        repr=False,
    )
    return cast(Callable[_Args, _Made], twin)


def _default(one: Field[Any]) -> Any:
    if one.default is not MISSING:
        return field(default=one.default)
    return field() if one.default_factory is MISSING else field(default_factory=one.default_factory)


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep Python's cycle collector from running while many objects without cycles are made.

    It would look at all of them several times, which takes half of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
