# SPDX-License-Identifier: GPL-2.0-or-later
"""Instances that are made quickly are those that the class itself makes."""

import gc
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from pageproof.model.quick import quick, without_collector


@dataclass(frozen=True, slots=True)
class Made:
    number: int
    text: str = "none"
    some: list[int] = field(default_factory=list, compare=False)


def test_they_are_equal_and_frozen() -> None:
    made = quick(Made)
    one, same = made(1, "a", [2]), Made(1, "a", [2])
    assert type(one) is Made
    assert (one, hash(one), repr(one)) == (same, hash(same), repr(same))
    assert (made(1), made(number=1, text="b")) == (Made(1), Made(1, "b"))
    assert made(1).some is not made(1).some
    assert replace(one, number=3) == Made(3, "a")
    with pytest.raises(FrozenInstanceError):
        one.number = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'number'"):
        made()  # type: ignore[call-arg]


def test_the_collector_runs_again() -> None:
    assert gc.isenabled()
    with pytest.raises(KeyError), without_collector():
        assert not gc.isenabled()
        with without_collector():
            pass
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
