# SPDX-License-Identifier: GPL-2.0-or-later
"""The extension: wrong arguments, and threads that use the same object."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pageproof_pagewalk as engine
import pytest

TYPES = bytes(8)
END = (1 << 47) - 1


def walker(read: Callable[[int, int], bytes] = lambda paddr, length: bytes(length)) -> Any:
    return engine.Walker("x86_64-4", TYPES, read=read)


class RunsPython:
    """An argument whose conversion runs Python code, so that another thread can run."""

    def __init__(self, code: Callable[[], None]) -> None:
        self._code = code

    def __index__(self) -> int:
        self._code()
        return 0


def test_a_thread_that_enters_while_another_parses() -> None:
    """Without the check after parsing, two threads ran pw_index_add() on one index: SIGSEGV."""
    index = engine.Index()
    inside, go_on = threading.Event(), threading.Event()

    def read(paddr: int, length: int) -> bytes:
        inside.set()
        assert go_on.wait(30)
        return bytes(length)

    other = threading.Thread(target=index.add, args=(walker(read), 0, 0, 0, END))

    def enter() -> None:
        other.start()
        assert inside.wait(30)

    try:
        with pytest.raises(RuntimeError, match="another thread"):
            index.add(walker(), 1, 0, 0, END, max_entries=RunsPython(enter))  # type: ignore[arg-type]
        for use in (index.finish, index.size, lambda: index.lookup(0)):
            with pytest.raises(RuntimeError, match="another thread"):
                use()
    finally:
        go_on.set()
        other.join(30)
    index.finish()


@pytest.mark.parametrize("space", [-1, engine.INDEX_SPACES, 1 << 32, (1 << 32) + 1, 1 << 64])
def test_a_space_that_does_not_exist(space: int) -> None:
    """2**32 was once truncated to space 0."""
    with pytest.raises(ValueError, match=r"no such address space|bit number"):
        engine.Index().add(walker(), space, 0, 0, END)


@pytest.mark.parametrize("number", [1 << 32, -1])
def test_numbers_of_32_bits_are_not_masked(number: int) -> None:
    with pytest.raises(ValueError, match="bit number"):
        engine.classify(bytes(64), 64, ((number, 1, 1, 1),), 0)
    with pytest.raises(ValueError, match="bit number"):
        walker().sweep(0, 0, END, skip=number)


#: Calls with an argument of a wrong type.
WRONG: dict[str, Callable[[Any], object]] = {
    "class": lambda wrong: engine.classify(bytes(64), 64, (wrong,), 0),
    "classes": lambda wrong: engine.classify(bytes(64), 64, wrong, 0),
    "records": lambda wrong: engine.classify(wrong, 64, (), 0),
    "class offset": lambda wrong: engine.classify(bytes(64), 64, ((wrong, 1, 1, 1),), 0),
    "swap": lambda wrong: engine.Walker("x86_64-4", TYPES, swap=wrong),
    "swap pair": lambda wrong: engine.Walker(
        "x86_64-4", TYPES, swap=(wrong, (0, 0), (0, 0), (0, 0))
    ),
    "form": lambda wrong: engine.Walker(wrong, TYPES),
    "memory types": lambda wrong: engine.Walker("x86_64-4", wrong),
    "read": lambda wrong: engine.Walker("x86_64-4", TYPES, read=wrong),
    "direct": lambda wrong: engine.Walker("x86_64-4", TYPES, direct=wrong),
    "direct pair": lambda wrong: engine.Walker("x86_64-4", TYPES, direct=[wrong]),
    "walk root": lambda wrong: walker().walk(wrong, 0),
    "sweep skip": lambda wrong: walker().sweep(0, 0, END, skip=wrong),
    "account uses": lambda wrong: walker().account(0, 0, END, wrong),
    "index walker": lambda wrong: engine.Index().add(wrong, 0, 0, 0, END),
    "index space": lambda wrong: engine.Index().add(walker(), wrong, 0, 0, END),
    "lookup": lambda wrong: engine.Index().lookup(wrong),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("wrong", [1.5, object()], ids=("float", "object"))
def test_wrong_types_are_type_errors(call: Callable[[Any], object], wrong: object) -> None:
    """A SystemError would be a wrong call of the C API."""
    with pytest.raises(TypeError):
        call(wrong)


@pytest.mark.parametrize("wrong", [1, [1, 2, 3, 4], "text"])
def test_other_types_than_tuples_are_type_errors(wrong: Any) -> None:
    with pytest.raises(TypeError, match="tuple"):
        engine.classify(bytes(64), 64, (wrong,), 0)
    with pytest.raises(TypeError, match="tuple"):
        engine.Walker("x86_64-4", TYPES, swap=wrong)
